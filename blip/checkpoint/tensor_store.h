#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "blip/base/tensor.h"

namespace blip {

/// Bytes that a tensor of this type and shape takes; nothing for a negative size or a product that
/// overflows. For shapes that a file states.
std::optional<std::size_t> byte_count(DType dtype, const Shape& shape);

/// The tensors of a checkpoint by name, wherever they came from. Values are views of mapped files.
class TensorStore {
 public:
  /// Throws Error{bad_model} when the name is taken.
  void add(std::string name, StoredTensor tensor);
  /// Remembers a tensor whose element type has no reader, such as F8_E4M3: weight() says so.
  void add_unreadable(std::string name, std::string type);

  /// nullptr when there is none.
  const StoredTensor* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }

  /// Where the tensors came from, for messages.
  const std::string& origin() const { return origin_; }
  void set_origin(std::string origin) { origin_ = std::move(origin); }

  /// The tensor as the file holds it. A size of -1 in `expected` accepts any. Throws
  /// Error{bad_model} naming the tensor when it is missing, or not of the expected shape (naming
  /// both shapes); Error{unsupported} for an element type that has no reader.
  const StoredTensor& tensor(std::string_view name, const Shape& expected) const;

  /// The tensor as f32 parameters: a view where the file holds aligned f32, else a converted copy.
  /// Throws as tensor() does, and Error{bad_model} when it is not floating-point.
  Weight weight(std::string_view name, const Shape& expected) const;

 private:
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> unreadable_;  ///< name -> element type
  std::string origin_ = "the checkpoint";
};

}  // namespace blip
