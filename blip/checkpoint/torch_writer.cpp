#include "blip/checkpoint/torch_writer.h"

#include <map>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/checkpoint/zip_writer.h"

namespace blip {
namespace {

using NamedTensors = std::vector<std::pair<std::string, StoredTensor>>;

std::string_view storage_type(DType type) {
  switch (type) {
    case DType::f64:
      return "DoubleStorage";
    case DType::f32:
      return "FloatStorage";
    case DType::f16:
      return "HalfStorage";
    case DType::bf16:
      return "BFloat16Storage";
    case DType::i64:
      return "LongStorage";
    case DType::i32:
      return "IntStorage";
    case DType::i16:
      return "ShortStorage";
    case DType::i8:
      return "CharStorage";
    case DType::u8:
      return "ByteStorage";
    case DType::boolean:
      return "BoolStorage";
  }
  throw Error(ErrorCode::internal, "an element type that torch does not have");
}

/// Operations of Python's pickle, protocol 2.
class PickleWriter {
 public:
  PickleWriter() { raw("\x80\x02"); }

  void raw(std::string_view bytes) { bytes_ += bytes; }
  void mark() { raw("("); }
  void tuple() { raw("t"); }
  void call() { raw("R"); }
  void global(std::string_view module, std::string_view name) {
    raw("c");
    raw(module);
    raw("\n");
    raw(name);
    raw("\n");
  }
  void text(std::string_view value) {
    raw("X");
    little_endian(value.size(), 4);
    raw(value);
  }
  void integer(std::int64_t value) {  // LONG1 of 8 bytes
    raw("\x8a\x08");
    little_endian(static_cast<std::uint64_t>(value), 8);
  }
  void integers(const Shape& values) {
    mark();
    for (const std::int64_t value : values) integer(value);
    tuple();
  }
  std::string finish() {
    raw(".");
    return std::move(bytes_);
  }

 private:
  void little_endian(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
  }
  std::string bytes_;
};

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

/// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
void write_tensor(PickleWriter& pickle, const StoredTensor& tensor, const std::string& key) {
  pickle.global("torch._utils", "_rebuild_tensor_v2");
  pickle.mark();
  pickle.mark();
  pickle.text("storage");
  pickle.global("torch", storage_type(tensor.dtype));
  pickle.text(key);
  pickle.text("cpu");
  pickle.integer(static_cast<std::int64_t>(element_count(tensor.shape)));
  pickle.tuple();
  pickle.raw("Q");  // the storage of that description
  pickle.integer(0);
  pickle.integers(tensor.shape);
  pickle.integers(strides_of(tensor.shape));
  pickle.raw("\x89");  // False
  pickle.global("collections", "OrderedDict");
  pickle.raw(")");  // ()
  pickle.call();
  pickle.tuple();
  pickle.call();
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void write_torch_pickle(const std::filesystem::path& file, const NamedTensors& tensors) {
  std::map<std::pair<const std::byte*, std::size_t>, std::string> keys;
  std::vector<std::span<const std::byte>> storages;
  PickleWriter pickle;
  pickle.raw("}");
  pickle.text("model");
  pickle.raw("}");
  pickle.mark();
  for (const auto& [name, tensor] : tensors) {
    if (byte_count(tensor.dtype, tensor.shape) != tensor.bytes.size()) {
      throw Error(ErrorCode::internal, "tensor " + in_quotes(name) + " of shape " +
                                           to_string(tensor.shape) + " has " +
                                           std::to_string(tensor.bytes.size()) + " bytes");
    }
    const auto [key, added] = keys.try_emplace({tensor.bytes.data(), tensor.bytes.size()},
                                               std::to_string(storages.size()));
    if (added) storages.push_back(tensor.bytes);
    pickle.text(name);
    write_tensor(pickle, tensor, key->second);
  }
  pickle.raw("us");  // the items marked, then the one of the outer dictionary
  const std::string object = pickle.finish();

  write_file(file, [&](std::ostream& out) {
    const std::string root = file.stem().string() + "/";
    ZipWriter zip(out);
    zip.add(root + "data.pkl", as_bytes(object));
    zip.add(root + "byteorder", as_bytes("little"));
    for (std::size_t i = 0; i < storages.size(); ++i) {
      zip.add(root + "data/" + std::to_string(i), storages[i]);
    }
    zip.add(root + "version", as_bytes("3\n"));
    zip.finish();
  });
}

}  // namespace blip
