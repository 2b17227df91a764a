#include "blip/checkpoint/torch_archive.h"

#include <utility>

#include "blip/base/error.h"
#include "blip/checkpoint/byte_reader.h"
#include "blip/checkpoint/zip_directory.h"

namespace blip {
namespace {

using Kind = PickleValue::Kind;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_model, where + ": " + what);
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t size_value(const PickleValue& value, const std::string& where) {
  if (value.kind != Kind::integer || value.integer < 0) fail(where, "a storage has no valid size");
  return static_cast<std::uint64_t>(value.integer);
}

/// The folder inside the archive that holds everything, with its slash.
std::string_view archive_root(const ZipEntries& entries, const std::string& where) {
  constexpr std::string_view kObject = "/data.pkl";
  for (const auto& [name, bytes] : entries) {
    if (name.ends_with(kObject)) return name.substr(0, name.size() - kObject.size() + 1);
  }
  fail(where, "the zip archive has no data.pkl, which torch.save writes");
}

TorchArchive read_zip(std::span<const std::byte> bytes, const std::string& where) {
  const ZipEntries entries = read_zip_directory(bytes, where);
  const std::string root(archive_root(entries, where));
  if (const auto order = entries.find(root + "byteorder");
      order != entries.end() && as_text(order->second) != "little") {
    throw Error(ErrorCode::unsupported, where + " was saved on a big-endian machine");
  }
  ByteReader reader(entries.at(root + "data.pkl"), where);
  TorchArchive archive{read_pickle(reader), {}};
  const std::string prefix = root + "data/";
  for (auto at = entries.lower_bound(prefix); at != entries.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    archive.storages.emplace(at->first.substr(prefix.size()), at->second);
  }
  return archive;
}

/// 0x1950a86a20f9469cfc6c, by which torch knows its older files.
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

void check_preamble(ByteReader& reader) {
  const Pickle magic = read_pickle(reader);
  if (magic.root().kind != Kind::big_integer || magic.root().text != kMagic) {
    fail(reader.where(), "this pickle was not written by torch.save");
  }
  constexpr std::int64_t kVersion = 1001;
  const Pickle version = read_pickle(reader);
  if (version.root().kind != Kind::integer || version.root().integer != kVersion) {
    throw Error(ErrorCode::unsupported,
                reader.where() + " has a version of torch's older file form other than 1001");
  }
  const Pickle system = read_pickle(reader);
  const PickleValue* little = system.find(system.root(), "little_endian");
  if (little != nullptr && little->kind == Kind::boolean && little->integer == 0) {
    throw Error(ErrorCode::unsupported, reader.where() + " was saved on a big-endian machine");
  }
}

/// The storages that the object's tensors name, with the type and size that they give them.
std::map<std::string_view, StorageId> declared_storages(const Pickle& object,
                                                        const std::string& where) {
  std::map<std::string_view, StorageId> declared;
  for (const PickleValue& value : object.values()) {
    if (value.kind != Kind::storage) continue;
    const StorageId id = storage_id(object, value, where);
    const StorageId& first = declared.emplace(id.key, id).first->second;
    if (first.dtype != id.dtype || first.count != id.count) {
      fail(where, "storage " + in_quotes(id.key) + " is given two types or sizes");
    }
  }
  return declared;
}

TorchArchive read_legacy(std::span<const std::byte> bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  check_preamble(reader);
  TorchArchive archive{read_pickle(reader), {}};
  const auto declared = declared_storages(archive.object, where);
  const Pickle keys = read_pickle(reader);
  if (keys.root().kind != Kind::list) fail(where, "the list of storages is missing");
  for (const PickleRef ref : keys.root().items) {
    const auto found = declared.find(keys[ref].text);
    if (keys[ref].kind != Kind::text || found == declared.end()) {
      fail(where, "it lists storages that no tensor uses");
    }
    const StorageId& id = found->second;
    if (reader.number<std::uint64_t>() != id.count) {
      fail(where, "storage " + in_quotes(id.key) + " is not of the size that its tensors give it");
    }
    std::uint64_t size = 0;
    if (__builtin_mul_overflow(id.count, size_of(id.dtype), &size)) {
      fail(where, "storage " + in_quotes(id.key) + " has an impossible size");
    }
    archive.storages.emplace(id.key, reader.take(size));
  }
  return archive;
}

}  // namespace

StorageId storage_id(const Pickle& pickle, const PickleValue& storage, const std::string& where) {
  const PickleValue& tuple = pickle[storage.items.at(0)];
  const auto at = [&](std::size_t i) -> const PickleValue& { return pickle[tuple.items[i]]; };
  // ("storage", type, key, device, count[, None or (view key, offset, count)])
  if (tuple.kind != Kind::tuple || tuple.items.size() < 5 || at(0).text != "storage" ||
      at(1).kind != Kind::storage_type || at(2).kind != Kind::text) {
    fail(where, "a tensor's storage is not named in torch.save's way");
  }
  StorageId id{at(1).dtype, at(2).text, size_value(at(4), where), 0, std::nullopt};
  if (tuple.items.size() > 5 && at(5).kind == Kind::tuple) {
    if (at(5).items.size() != 3) fail(where, "a storage's view is not of three values");
    id.view_offset = size_value(pickle[at(5).items[1]], where);
    id.view_count = size_value(pickle[at(5).items[2]], where);
  }
  return id;
}

TorchArchive read_torch_archive(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view text = as_text(bytes);
  if (text.starts_with("PK\x03\x04")) return read_zip(bytes, where);
  if (text.starts_with('\x80')) return read_legacy(bytes, where);
  constexpr std::size_t kTarMark = 257;
  if (text.size() > kTarMark && text.substr(kTarMark).starts_with("ustar")) {
    throw Error(ErrorCode::unsupported,
                where + " has the tar form of torch.save before 0.1.10, which is not read");
  }
  fail(where, "it is no file of torch.save: neither a zip archive nor a pickle");
}

}  // namespace blip
