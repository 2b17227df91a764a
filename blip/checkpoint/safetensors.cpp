#include "blip/checkpoint/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/checkpoint/byte_reader.h"

namespace blip {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

std::optional<DType> dtype_named(std::string_view text) {
  constexpr DType kAll[] = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                            DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};
  for (const DType dtype : kAll) {
    if (name(dtype) == text) return dtype;
  }
  return std::nullopt;
}

/// Half-open range of the data section.
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// One entry of the header, checked field by field as it is read.
class HeaderEntry {
 public:
  HeaderEntry(const std::string& where, const std::string& name, const Json& json)
      : where_(where), name_(name), json_(json) {
    if (!json.is_object()) fail("is not an object");
  }

  std::string dtype() const {
    const Json& value = field("dtype");
    if (!value.is_string()) fail("has a \"dtype\" that is not a string");
    return value.get<std::string>();
  }

  Shape shape() const {
    Shape shape;
    for (const std::uint64_t size : numbers("shape")) {
      if (size > static_cast<std::uint64_t>(INT64_MAX)) fail("has an impossible shape");
      shape.push_back(static_cast<std::int64_t>(size));
    }
    return shape;
  }

  Range range(std::uint64_t data_size) const {
    const std::vector<std::uint64_t> offsets = numbers("data_offsets");
    if (offsets.size() != 2) fail("has \"data_offsets\" that are not two numbers");
    const Range range{offsets[0], offsets[1]};
    if (range.begin > range.end || range.end > data_size) {
      fail("lies at bytes " + std::to_string(range.begin) + " to " + std::to_string(range.end) +
           " of a data section of " + std::to_string(data_size));
    }
    return range;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_model, where_ + ": tensor " + in_quotes(name_) + " " + what);
  }

 private:
  const Json& field(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) fail(std::string("has no \"") + key + "\"");
    return *found;
  }

  std::vector<std::uint64_t> numbers(const char* key) const {
    const Json& value = field(key);
    if (!value.is_array()) fail(std::string("has a \"") + key + "\" that is not an array");
    std::vector<std::uint64_t> out;
    for (const Json& number : value) {
      if (!number.is_number_unsigned()) {
        fail(std::string("has a \"") + key + "\" that is not of whole numbers from 0 up");
      }
      out.push_back(number.get<std::uint64_t>());
    }
    return out;
  }

  const std::string& where_;
  const std::string& name_;
  const Json& json_;
};

Json read_header(ByteReader& reader) {
  const auto size = reader.number<std::uint64_t>();
  if (size > kMaxHeaderBytes || size > reader.remaining()) {
    throw Error(ErrorCode::bad_model,
                reader.where() + " is no safetensors file: its header would take " +
                    std::to_string(size) + " bytes of " + std::to_string(reader.remaining()));
  }
  Json header = parse_json(reader.text(size), "the header of " + reader.where());
  if (!header.is_object()) {
    throw Error(ErrorCode::bad_model, "the header of " + reader.where() + " is not a JSON object");
  }
  return header;
}

/// Two tensors over the same bytes are what only a forged file has.
void check_disjoint(std::vector<Range> ranges, const std::string& where) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::uint64_t end = 0;
  for (const Range& range : ranges) {
    if (range.begin == range.end) continue;
    if (range.begin < end) {
      throw Error(ErrorCode::bad_model, where + ": tensors overlap at byte " +
                                            std::to_string(range.begin) + " of the data section");
    }
    end = range.end;
  }
}

void check_size(const std::string& name, const StoredTensor& tensor) {
  if (byte_count(tensor.dtype, tensor.shape) != tensor.bytes.size()) {
    throw Error(ErrorCode::internal, "tensor " + in_quotes(name) + " of shape " +
                                         to_string(tensor.shape) + " has " +
                                         std::to_string(tensor.bytes.size()) + " bytes");
  }
}

/// What values start at a multiple of, as cache lines do, in files that are written: but for those
/// whose sizes are none.
constexpr std::size_t kAlignment = 64;

/// The header as written, filled up so that the data behind it starts aligned.
std::string padded_text(const Json& header) {
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::bad_model, "a tensor's name is not UTF-8, as safetensors need");
  }
  const std::size_t size = sizeof(std::uint64_t) + text.size();
  text.resize(text.size() + (kAlignment - size % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace

void read_safetensors(std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
                      const std::string& where, TensorStore& store) {
  ByteReader reader(bytes, where);
  const Json header = read_header(reader);
  const auto data = reader.take(reader.remaining());
  std::vector<Range> ranges;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") continue;
    const HeaderEntry entry(where, name, json);
    const std::string type = entry.dtype();
    Shape shape = entry.shape();
    const Range range = entry.range(data.size());
    ranges.push_back(range);
    const std::optional<DType> dtype = dtype_named(type);
    if (!dtype) {
      store.add_unreadable(name, type);
      continue;
    }
    const std::uint64_t size = range.end - range.begin;
    if (byte_count(*dtype, shape) != size) {
      entry.fail("has the shape " + to_string(shape) + " of " + type + ", which " +
                 std::to_string(size) + " bytes do not hold");
    }
    store.add(name, {*dtype, std::move(shape), data.subspan(range.begin, size), keep_alive});
  }
  check_disjoint(std::move(ranges), where);
}

void read_safetensors(const std::filesystem::path& file, TensorStore& store) {
  const auto mapped = MappedFile::open(file);
  read_safetensors(mapped->bytes(), mapped, file.string(), store);
}

void write_safetensors(const std::filesystem::path& file,
                       const std::vector<std::pair<std::string, StoredTensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const std::pair<std::string, StoredTensor>*> ordered;
  for (const auto& entry : tensors) ordered.push_back(&entry);
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    const auto key = [](const StoredTensor& tensor) {
      return std::pair(tensor.bytes.size() % kAlignment == 0, size_of(tensor.dtype));
    };
    return key(a->second) > key(b->second);
  });

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto* entry : ordered) {
    const auto& [name, tensor] = *entry;
    check_size(name, tensor);
    if (header.contains(name)) {
      throw Error(ErrorCode::internal, "tensor " + in_quotes(name) + " is given twice");
    }
    header[name] = {{"dtype", blip::name(tensor.dtype)},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  const std::string text = padded_text(header);

  write_file(file, [&](std::ostream& out) {
    const std::uint64_t size = text.size();
    out.write(reinterpret_cast<const char*>(&size), sizeof size);
    out << text;
    for (const auto* entry : ordered) {
      const auto bytes = entry->second.bytes;
      out.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
    }
  });
}

}  // namespace blip
