#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/base/tensor.h"
#include "blip/checkpoint/byte_reader.h"

namespace blip {

/// Index of a value in its Pickle.
using PickleRef = std::uint32_t;

/// One Python object of a pickle. Others are referred to by index, so that sharing and cycles are
/// harmless and destruction never recurses.
struct PickleValue {
  enum class Kind : std::uint8_t {
    opaque,        ///< of no use here: None, floats, bytes, sets, torch.device, ...
    boolean,       ///< integer: 0 or 1
    integer,       ///< integer
    big_integer,   ///< text: its bytes, little-endian two's complement, more than 8
    text,          ///< text: UTF-8
    tuple,         ///< items
    list,          ///< items
    dict,          ///< items: key, value, key, value, ...
    global,        ///< integer: which of the names that the reader knows
    storage,       ///< items: the identifying tuple of torch.save
    tensor,        ///< items: the arguments of torch._utils._rebuild_tensor[_v2]
    storage_type,  ///< dtype: of torch.FloatStorage and the like
  };

  Kind kind = Kind::opaque;
  DType dtype = DType::f32;
  std::int64_t integer = 0;
  std::string_view text;  ///< view of the bytes read
  std::vector<PickleRef> items;
};

/// What a pickle holds. Views the bytes that it was read from.
class Pickle {
 public:
  Pickle(std::vector<PickleValue> values, PickleRef root)
      : values_(std::move(values)), root_(root) {}

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](PickleRef ref) const { return values_[ref]; }
  /// All values, also those that the root does not reach.
  const std::vector<PickleValue>& values() const { return values_; }
  /// The value of a text key of `dict`, the last one as in Python; nullptr when there is none.
  const PickleValue* find(const PickleValue& dict, std::string_view key) const;

 private:
  std::vector<PickleValue> values_;
  PickleRef root_;
};

/// Reads the pickle (protocols 2 to 5, as torch.save writes them) that `reader` stands at and
/// leaves it behind. Nothing is executed: the only globals known are those of tensors and plain
/// containers. Time is linear in the pickle's bytes and memory bounded. Throws Error{unsupported}
/// naming any other global; Error{bad_model} for damage; Error{too_large} beyond a million objects.
Pickle read_pickle(ByteReader& reader);

}  // namespace blip
