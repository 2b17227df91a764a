#include "blip/checkpoint/torch_pickle.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/torch_archive.h"

namespace blip {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMaxRank = 16;

/// Where a tensor's elements lie in its storage, in elements.
struct Layout {
  Shape shape;
  std::vector<std::int64_t> strides;
  std::int64_t offset = 0;
};

bool is_contiguous(const Layout& layout) {
  std::int64_t expected = 1;
  for (std::size_t i = layout.shape.size(); i-- > 0;) {
    if (layout.shape[i] != 1 && layout.strides[i] != expected) return false;
    expected *= layout.shape[i];
  }
  return true;
}

/// Sets `end` to the last element's index in the storage plus one; false when that overflows.
bool find_end(const Layout& layout, std::int64_t& end) {
  std::int64_t last = layout.offset;
  for (std::size_t i = 0; i < layout.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(layout.shape[i] - 1, layout.strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return false;
    }
  }
  return !__builtin_add_overflow(last, 1, &end);
}

/// Copies a strided tensor of at least one element into row-major order.
void gather(const Layout& layout, std::size_t element_size, const std::byte* storage,
            std::span<std::byte> out) {
  std::vector<std::int64_t> index(layout.shape.size(), 0);
  std::int64_t at = layout.offset;
  for (std::size_t done = 0; done < out.size(); done += element_size) {
    std::memcpy(out.data() + done, storage + static_cast<std::size_t>(at) * element_size,
                element_size);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (index[axis] + 1 < layout.shape[axis]) {
        ++index[axis];
        at += layout.strides[axis];
        break;
      }
      at -= index[axis] * layout.strides[axis];
      index[axis] = 0;
    }
  }
}

/// Makes tensors of an archive. `where` and `archive` must outlive it.
class TensorReader {
 public:
  TensorReader(const TorchArchive& archive, std::shared_ptr<const void> keep_alive,
               const std::string& where, std::size_t file_size)
      : archive_(archive),
        keep_alive_(std::move(keep_alive)),
        where_(where),
        copy_budget_(file_size) {}

  StoredTensor read(std::string_view name, const PickleValue& value) {
    name_ = name;
    const Pickle& pickle = archive_.object;
    const PickleValue& arguments = pickle[value.items.at(0)];
    // (storage, offset, size, stride, ...)
    if (arguments.items.size() < 4) fail("is rebuilt from too few values");
    const PickleValue& storage = pickle[arguments.items[0]];
    if (storage.kind != Kind::storage) fail("has no storage");
    const StorageId id = storage_id(pickle, storage, where_);
    const std::span<const std::byte> bytes = storage_bytes(id);
    const Layout layout{numbers(arguments.items[2]), numbers(arguments.items[3]),
                        whole(pickle[arguments.items[1]])};
    return slice(id.dtype, layout, bytes);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_model, where_ + ": tensor " + in_quotes(name_) + " " + what);
  }

  std::int64_t whole(const PickleValue& value) const {
    if (value.kind != Kind::integer || value.integer < 0) {
      fail("has an offset, size or stride that is no whole number from 0 up");
    }
    return value.integer;
  }

  std::vector<std::int64_t> numbers(PickleRef ref) const {
    const PickleValue& tuple = archive_.object[ref];
    if (tuple.kind != Kind::tuple || tuple.items.size() > kMaxRank) {
      fail("has a shape that is no tuple of at most " + std::to_string(kMaxRank) + " sizes");
    }
    std::vector<std::int64_t> out;
    for (const PickleRef item : tuple.items) out.push_back(whole(archive_.object[item]));
    return out;
  }

  std::span<const std::byte> storage_bytes(const StorageId& id) const {
    const auto found = archive_.storages.find(id.key);
    if (found == archive_.storages.end())
      fail("needs the storage " + in_quotes(id.key) + ", which is missing");
    const std::uint64_t held = found->second.size() / size_of(id.dtype);
    const std::uint64_t count = id.view_count.value_or(id.count);
    if (id.count > held || id.view_offset > id.count || count > id.count - id.view_offset) {
      fail("is said to lie in a storage of " + std::to_string(id.count) + " elements that holds " +
           std::to_string(held));
    }
    return found->second.subspan(id.view_offset * size_of(id.dtype), count * size_of(id.dtype));
  }

  StoredTensor slice(DType dtype, const Layout& layout, std::span<const std::byte> storage) {
    const std::optional<std::size_t> size = byte_count(dtype, layout.shape);
    if (!size || layout.shape.size() != layout.strides.size()) fail("has an impossible shape");
    StoredTensor tensor{dtype, layout.shape, {}, keep_alive_};
    if (*size == 0) return tensor;
    std::int64_t end = 0;
    const std::size_t held = storage.size() / size_of(dtype);
    if (!find_end(layout, end) || static_cast<std::uint64_t>(end) > held) {
      fail("of shape " + to_string(layout.shape) + " reaches beyond its storage of " +
           std::to_string(held) + " elements");
    }
    if (is_contiguous(layout)) {
      tensor.bytes =
          storage.subspan(static_cast<std::size_t>(layout.offset) * size_of(dtype), *size);
    } else {
      copy_into_order(layout, storage.data(), *size, tensor);
    }
    return tensor;
  }

  void copy_into_order(const Layout& layout, const std::byte* storage, std::size_t size,
                       StoredTensor& tensor) {
    // A few bytes of pickle can name a huge expanded tensor, or one storage many times over.
    if (size > copy_budget_) {
      throw Error(ErrorCode::too_large, where_ + ": tensor " + in_quotes(name_) + " of shape " +
                                            to_string(layout.shape) +
                                            " would take more memory than the whole file");
    }
    copy_budget_ -= size;
    auto copy = std::make_shared<std::vector<std::byte>>(size);
    gather(layout, size_of(tensor.dtype), storage, *copy);
    tensor.bytes = *copy;
    tensor.keep_alive = std::move(copy);
  }

  const TorchArchive& archive_;
  std::shared_ptr<const void> keep_alive_;
  const std::string& where_;
  std::size_t copy_budget_;
  std::string_view name_;
};

using Entry = std::pair<std::string_view, const PickleValue*>;

std::vector<Entry> tensors_of(const Pickle& pickle, const PickleValue& dict) {
  std::vector<Entry> out;
  if (dict.kind != Kind::dict) return out;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = pickle[dict.items[i]];
    const PickleValue& value = pickle[dict.items[i + 1]];
    if (key.kind == Kind::text && value.kind == Kind::tensor) out.emplace_back(key.text, &value);
  }
  return out;
}

std::vector<Entry> find_state_dict(const Pickle& pickle, const std::string& where) {
  for (const char* key : {"model", "state_dict", "module"}) {
    const PickleValue* inner = pickle.find(pickle.root(), key);
    if (inner == nullptr) continue;
    if (auto entries = tensors_of(pickle, *inner); !entries.empty()) return entries;
  }
  if (auto entries = tensors_of(pickle, pickle.root()); !entries.empty()) return entries;
  throw Error(ErrorCode::bad_model,
              where +
                  " holds no tensors: expected a dictionary of them, or one under \"model\", "
                  "\"state_dict\" or \"module\"");
}

}  // namespace

void read_torch_pickle(std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
                       const std::string& where, TensorStore& store) {
  const TorchArchive archive = read_torch_archive(bytes, where);
  const std::vector<Entry> entries = find_state_dict(archive.object, where);
  constexpr std::string_view kParallel = "module.";
  const bool parallel = std::all_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.first.starts_with(kParallel);
  });
  TensorReader reader(archive, std::move(keep_alive), where, bytes.size());
  for (const auto& [key, value] : entries) {
    const std::string_view name = parallel ? key.substr(kParallel.size()) : key;
    store.add(std::string(name), reader.read(name, *value));
  }
}

void read_torch_pickle(const std::filesystem::path& file, TensorStore& store) {
  const auto mapped = MappedFile::open(file);
  read_torch_pickle(mapped->bytes(), mapped, file.string(), store);
}

}  // namespace blip
