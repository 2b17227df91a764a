#include "blip/index/manifest.h"

#include <initializer_list>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/index/checksum.h"
#include "blip/index/durable.h"

namespace blip {
namespace {

constexpr std::string_view kFormat = "blip index";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kMaxManifestBytes = std::size_t{1} << 20;
constexpr std::uint64_t kMaxNumber = std::uint64_t{1} << 53;  // what JSON's numbers hold exactly

/// Reads the fields of one JSON object, with its place in the message when one is wrong.
class Fields {
 public:
  Fields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail("is not a JSON object");
  }

  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) fail(std::string("has no \"") + key + "\"");
    return *found;
  }

  std::uint64_t number(const char* key, std::uint64_t least, std::uint64_t most) const {
    const Json& value = at(key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least ||
        value.get<std::uint64_t>() > most) {
      fail(std::string("must have a \"") + key + "\" from " + std::to_string(least) + " to " +
           std::to_string(most));
    }
    return value.get<std::uint64_t>();
  }

  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) fail(std::string("must have a text as \"") + key + "\"");
    return value.get<std::string>();
  }

  template <class Enum>
  Enum one_of(const char* key, std::initializer_list<Enum> values) const {
    const std::string word = text(key);
    for (const Enum value : values) {
      if (name(value) == word) return value;
    }
    fail(std::string("has an unknown \"") + key + "\", " + in_quotes(word));
  }

  IndexPart part(const char* key) const {
    const Fields fields(at(key), where_ + " under \"" + key + "\"");
    const std::string digits = fields.text("checksum");
    if (digits.size() != 16 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
      fields.fail("must have a checksum of 16 hexadecimal digits");
    }
    return {fields.number("bytes", 0, kMaxNumber), std::stoull(digits, nullptr, 16)};
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::io, where_ + " " + what);
  }

 private:
  const Json& json_;
  std::string where_;
};

Json to_json(const IndexPart& part) {
  return {{"bytes", part.bytes}, {"checksum", to_hex(part.checksum)}};
}

Json to_json(const IndexManifest& manifest) {
  const IndexSettings& settings = manifest.settings;
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"kind", name(settings.kind)},
               {"content", name(settings.content)},
               {"width", settings.width},
               {"model", settings.model},
               {"preprocessing", settings.preprocessing},
               {"opened_with", settings.opened_with},
               {"generation", manifest.generation},
               {"row_files", manifest.row_files},
               {"count", manifest.count},
               {"removed_count", manifest.removed_count},
               {"effort", manifest.effort},
               {"recall", manifest.recall}};
  if (manifest.removed_count > 0) json["removed"] = to_json(manifest.removed);
  if (settings.kind != IndexKind::flat) json["structure"] = to_json(manifest.structure);
  if (manifest.codes) json["codes"] = to_json(*manifest.codes);
  if (manifest.sketches) json["sketches"] = to_json(*manifest.sketches);
  return json;
}

}  // namespace

std::string_view name(IndexKind kind) noexcept {
  switch (kind) {
    case IndexKind::flat:
      return "flat";
    case IndexKind::hnsw:
      return "hnsw";
    case IndexKind::ivf:
      return "ivf";
  }
  return "unknown";
}

std::string_view name(IndexContent content) noexcept {
  return content == IndexContent::texts ? "texts" : "images";
}

void require_same(const IndexSettings& index, const IndexSettings& wanted, std::string_view where) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::usage, std::string(where) + " " + what);
  };
  if (index.content != wanted.content) {
    refuse("holds " + std::string(name(index.content)) + ", not " +
           std::string(name(wanted.content)));
  }
  if (index.model != wanted.model) {
    refuse("was made with another model (fingerprint " + index.model + ", this one's is " +
           wanted.model + ")");
  }
  if (index.width != wanted.width) {
    refuse("has vectors of " + std::to_string(index.width) + " values, not of " +
           std::to_string(wanted.width));
  }
  if (index.preprocessing != wanted.preprocessing) {
    refuse("was made with another preprocessing: " + index.preprocessing.dump() + ", not " +
           wanted.preprocessing.dump());
  }
}

IndexManifest parse_manifest(std::string_view text, std::string_view where) {
  Json json;
  try {
    json = parse_json(text, where);
  } catch (const Error& e) {
    throw Error(ErrorCode::io, e.what());
  }
  const Fields fields(json, std::string(where));
  if (fields.text("format") != kFormat) fields.fail("is no manifest of an index");
  const std::uint64_t version = fields.number("version", 1, kMaxNumber);
  if (version > kVersion) {
    throw Error(ErrorCode::unsupported, std::string(where) + " has version " +
                                            std::to_string(version) + "; this program reads " +
                                            std::to_string(kVersion));
  }
  IndexManifest manifest;
  IndexSettings& settings = manifest.settings;
  settings.kind = fields.one_of("kind", {IndexKind::flat, IndexKind::hnsw, IndexKind::ivf});
  settings.content = fields.one_of("content", {IndexContent::images, IndexContent::texts});
  settings.width = fields.number("width", 1, kMaxIndexWidth);
  settings.model = fields.text("model");
  settings.preprocessing = fields.at("preprocessing");
  settings.opened_with = fields.at("opened_with");
  manifest.generation = fields.number("generation", 0, kMaxNumber);
  manifest.row_files = fields.number("row_files", 1, kMaxNumber);
  manifest.count = fields.number("count", 0, kMaxIndexRows);
  manifest.removed_count = fields.number("removed_count", 0, manifest.count);
  manifest.effort = static_cast<int>(fields.number("effort", 0, kMaxIndexRows));
  const Json& recall = fields.at("recall");
  if (!recall.is_number()) fields.fail("must have a number as \"recall\"");
  manifest.recall = recall.get<double>();
  if (manifest.removed_count > 0) manifest.removed = fields.part("removed");
  if (settings.kind != IndexKind::flat) manifest.structure = fields.part("structure");
  if (settings.kind == IndexKind::hnsw) {
    if (json.contains("codes")) manifest.codes = fields.part("codes");
    if (json.contains("sketches")) manifest.sketches = fields.part("sketches");
  }
  return manifest;
}

IndexManifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "manifest.json";
  std::string text;
  try {
    text = read_file(file, kMaxManifestBytes);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::not_found, folder.string() + " is no index: it has no manifest.json");
  }
  return parse_manifest(text, file.string());
}

void publish_manifest(const std::filesystem::path& folder, const IndexManifest& manifest) {
  const std::filesystem::path next = folder / "manifest.json.next";
  write_file(next, [&](std::ostream& out) { out << to_json(manifest).dump(1) << '\n'; });
  sync_to_disk(next);
  std::error_code error;
  std::filesystem::rename(next, folder / "manifest.json", error);
  if (error) {
    throw Error(ErrorCode::io,
                "cannot replace " + (folder / "manifest.json").string() + ": " + error.message());
  }
  sync_to_disk(folder);
}

}  // namespace blip
