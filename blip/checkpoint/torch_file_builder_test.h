#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// For tests: pickles and files of torch.save written by hand, so that they can lie.
namespace blip::testing {

template <class T>
std::string little_endian(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

namespace pickle {

inline std::string text(std::string_view value) {
  return "X" + little_endian(static_cast<std::uint32_t>(value.size())) + std::string(value);
}

inline std::string integer(std::int64_t value) {
  return "\x8a\x08" + little_endian(value);
}

inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += integer(value);
  return out + "t";
}

inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u";
}

struct Tensor {
  std::string storage = "0";
  std::int64_t storage_count = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::int64_t offset = 0;
  std::string type = "FloatStorage";
};

inline std::string tensor(const Tensor& t) {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
         global("torch", t.type) + text(t.storage) + text("cpu") + integer(t.storage_count) +
         "NtQ" + integer(t.offset) + tuple(t.shape) + tuple(t.strides) + "\x89" +
         global("collections", "OrderedDict") + ")RtR";
}

inline std::string whole(const std::string& body) {
  return "\x80\x02" + body + ".";
}

}  // namespace pickle

/// The older form: `storages` are key, element count and bytes.
struct Storage {
  std::string key;
  std::int64_t count;
  std::string bytes;
};

inline std::string legacy_file(const std::string& object, const std::vector<Storage>& storages) {
  std::string keys = "](";
  for (const Storage& storage : storages) keys += pickle::text(storage.key);
  std::string out = pickle::whole("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") +
                    pickle::whole(pickle::integer(1001)) +
                    pickle::whole(pickle::dict({{"little_endian", "\x88"}})) +
                    pickle::whole(object) + pickle::whole(keys + "e");
  for (const Storage& storage : storages) out += little_endian(storage.count) + storage.bytes;
  return out;
}

/// A state dictionary of f32 zeros, each tensor with a storage of its own.
inline std::string zeros_file(
    const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors) {
  std::vector<std::pair<std::string, std::string>> entries;
  std::vector<Storage> storages;
  for (const auto& [name, shape] : tensors) {
    std::int64_t count = 1;
    std::vector<std::int64_t> strides(shape.size());
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = count;
      count *= shape[i];
    }
    entries.emplace_back(name, pickle::tensor({name, count, shape, strides}));
    storages.push_back({name, count, std::string(static_cast<std::size_t>(count) * 4, '\0')});
  }
  return legacy_file(pickle::dict({{"model", pickle::dict(entries)}}), storages);
}

struct ZipOptions {
  std::uint16_t method = 0;  ///< what the directory claims
  bool zip64 = false;        ///< sizes and places in the records for large archives
};

/// A zip archive of stored entries, without checksums.
inline std::string zip_file(const std::vector<std::pair<std::string, std::string>>& entries,
                            const ZipOptions& options = {}) {
  const auto u16 = [](std::size_t v) { return little_endian(static_cast<std::uint16_t>(v)); };
  const auto u32 = [](std::size_t v) { return little_endian(static_cast<std::uint32_t>(v)); };
  const auto u64 = [](std::size_t v) { return little_endian(std::uint64_t{v}); };
  const auto in_64 = [&](std::size_t v) { return u32(options.zip64 ? 0xffffffff : v); };
  const auto fields = [&](const std::string& name, std::size_t size, std::size_t extra) {
    return u16(0) + u16(options.method) + std::string(8, '\0') + in_64(size) + in_64(size) +
           u16(name.size()) + u16(extra);
  };
  std::string out;
  std::string directory;
  for (const auto& [name, data] : entries) {
    const std::size_t size = data.size();
    const std::string extra = options.zip64 ? u16(9) + u16(1) + "x" + u16(1) + u16(24) + u64(size) +
                                                  u64(size) + u64(out.size())
                                            : "";
    directory += "PK\x01\x02" + std::string(4, '\0') + fields(name, size, extra.size()) +
                 std::string(10, '\0') + in_64(out.size()) + name + extra;
    out += "PK\x03\x04" + u16(0) + fields(name, size, 0) + name + data;
  }
  const std::size_t start = out.size();
  const std::size_t count = entries.size();
  out += directory;
  if (options.zip64) {
    const std::size_t end = out.size();
    out += "PK\x06\x06" + u64(44) + std::string(12, '\0') + u64(count) + u64(count) +
           u64(directory.size()) + u64(start) + "PK\x06\x07" + u32(0) + u64(end) + u32(1);
  }
  return out + "PK\x05\x06" + u32(0) + u16(count) + u16(count) + u32(directory.size()) +
         in_64(start) + u16(0);
}

/// A folder that exists as long as the object does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("blip-checkpoint-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace blip::testing
