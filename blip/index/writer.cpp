#include "blip/index/writer.h"

#include <algorithm>
#include <optional>
#include <string>

#include "blip/base/error.h"
#include "blip/index/checksum.h"

namespace blip {
namespace {

std::uint64_t name_key(std::string_view name) {
  return checksum(std::as_bytes(std::span(name)));
}

std::uint64_t state_of(std::uint64_t size, std::int64_t modified) {
  const std::uint64_t state[2] = {size, static_cast<std::uint64_t>(modified)};
  return checksum(std::as_bytes(std::span(state)));
}

/// "graph.3", "graph.3.tmp77-0": a file that a writer makes for one number, and which.
std::optional<std::uint64_t> number_of(const std::string& file, std::string_view stem) {
  if (!file.starts_with(stem) || file.size() <= stem.size() + 1 || file[stem.size()] != '.') {
    return std::nullopt;
  }
  const std::string digits = file.substr(stem.size() + 1);
  const std::size_t length = std::min(digits.find_first_not_of("0123456789"), digits.size());
  if (length == 0 || length > 18) return std::nullopt;
  // A temporary file of the current number is as stale as a file of another.
  return length == digits.size() ? std::stoull(digits) : 0;
}

/// Deletes what earlier generations and writers that died have left. Failing to is no harm.
void remove_stale(const std::filesystem::path& folder, const IndexManifest& manifest) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename().string();
    for (const std::string_view stem : {"vectors", "entries", "names"}) {
      const auto number = number_of(name, stem);
      if (number && *number != manifest.row_files) std::filesystem::remove(file, ignored);
    }
    for (const std::string_view stem : {"removed", "graph", "codes", "sketches", "lists"}) {
      const auto number = number_of(name, stem);
      if (number && *number != manifest.generation) std::filesystem::remove(file, ignored);
    }
  }
}

bool has_manifest(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "manifest.json", ignored);
}

/// Makes the folder, or makes sure that nothing but an index lies in it. Throws Error{usage, io}.
void prepare_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw Error(ErrorCode::io,
                "cannot make the folder " + folder.string() + ": " + error.message());
  }
  if (has_manifest(folder)) return;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = file.path().filename().string();
    if (name == "lock" || name.starts_with("manifest.json.")) continue;  // of a writer that died
    throw Error(ErrorCode::usage, "the folder " + folder.string() +
                                      " is not empty and holds no index; name another for it");
  }
  if (error) {
    throw Error(ErrorCode::io, "cannot list " + folder.string() + ": " + error.message());
  }
}

/// Rows of the files that are whole: the committed ones and what a dead writer appended.
std::size_t whole_rows(const std::filesystem::path& folder, const IndexManifest& manifest) {
  try {
    const Rows rows = Rows::all_of(folder, manifest.row_files, manifest.settings.width);
    return rows.count() <= manifest.count ? manifest.count
                                          : manifest.count + rows.whole_from(manifest.count);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::not_found && manifest.count == 0) return 0;
    throw;
  }
}

IndexPart write_removed(const std::filesystem::path& file, const RowMarks& removed) {
  write_file(file, [&](std::ostream& out) {
    for (std::uint32_t row = 0; row < removed.size(); ++row) {
      if (removed[row]) out.write(reinterpret_cast<const char*>(&row), sizeof row);
    }
  });
  const auto mapped = MappedFile::open(file);
  return finish_part(*mapped, mapped->bytes().size());
}

}  // namespace

IndexWriter IndexWriter::create(const std::filesystem::path& folder,
                                const IndexSettings& settings) {
  prepare_folder(folder);  // before the lock, which makes a file
  FolderLock lock(folder);
  IndexManifest manifest;
  if (has_manifest(folder)) {
    manifest = read_manifest(folder);
  } else {
    manifest.settings = settings;
    publish_manifest(folder, manifest);
  }
  if (manifest.generation > 0) {
    throw Error(ErrorCode::usage, folder.string() + " already holds an index");
  }
  require_same(manifest.settings, settings, "the unfinished index " + folder.string());
  if (manifest.settings.kind != settings.kind) {
    throw Error(ErrorCode::usage, "the unfinished index " + folder.string() + " is of kind " +
                                      std::string(name(manifest.settings.kind)));
  }
  return {folder, std::move(lock), manifest};
}

IndexWriter IndexWriter::open(const std::filesystem::path& folder, const IndexSettings& settings) {
  read_manifest(folder);  // before the lock, which makes a file
  FolderLock lock(folder);
  const IndexManifest manifest = read_manifest(folder);
  require_same(manifest.settings, settings, "the index " + folder.string());
  return {folder, std::move(lock), manifest};
}

IndexWriter::IndexWriter(const std::filesystem::path& folder, FolderLock lock,
                         const IndexManifest& manifest)
    : folder_(folder),
      lock_(std::move(lock)),
      manifest_(manifest),
      rows_(folder, manifest.row_files, manifest.settings.width, whole_rows(folder, manifest)) {
  remove_stale(folder, manifest);
  recovered_ = rows_.count() - manifest.count;
  if (rows_.count() == 0) return;
  removed_ = read_removed(folder, manifest);
  const Rows rows(folder, manifest.row_files, manifest.settings.width, rows_.count());
  for (std::size_t row = 0; row < rows.count(); ++row) {
    if (row < removed_.size() && removed_[row]) continue;
    const IndexEntry entry = rows.entry(row);
    note(row, entry.name, entry.size, entry.modified);
  }
}

void IndexWriter::note(std::size_t row, std::string_view name, std::uint64_t size,
                       std::int64_t modified) {
  const Latest latest{static_cast<std::uint32_t>(row), state_of(size, modified)};
  const auto [place, added] = latest_.try_emplace(name_key(name), latest);
  if (added) return;
  replaced_.emplace_back(place->second.row, latest.row);
  place->second = latest;
}

bool IndexWriter::has(const IndexEntry& entry) const {
  const auto found = latest_.find(name_key(entry.name));
  return found != latest_.end() && found->second.state == state_of(entry.size, entry.modified);
}

void IndexWriter::append(const IndexEntry& entry, std::span<const float> vector) {
  rows_.append(entry, vector);
  note(rows_.count() - 1, entry.name, entry.size, entry.modified);
}

void IndexWriter::mark_replaced(const Rows& rows, RowMarks& removed) const {
  removed.resize(rows.count());
  for (const auto& [older, newer] : replaced_) {
    // Different names can have one checksum; then both rows stay.
    if (rows.name(older) == rows.name(newer)) removed[older] = true;
  }
}

IndexManifest IndexWriter::commit(const Context& context, const IndexProgress& progress) {
  if (rows_.count() == manifest_.count && manifest_.generation > 0) return manifest_;
  rows_.sync();
  IndexManifest next = manifest_;
  ++next.generation;
  next.count = rows_.count();
  const std::size_t width = next.settings.width;
  Rows rows(folder_, next.row_files, width, next.count);
  RowMarks removed = removed_;
  mark_replaced(rows, removed);
  const auto removed_count = [&] {
    return static_cast<std::size_t>(std::count(removed.begin(), removed.end(), true));
  };
  const bool compact = removed_count() > next.count / 4;
  if (compact) {
    rows = copy_live(rows, removed, next);
    removed.clear();
  }
  next.removed_count = removed_count();
  if (next.removed_count == 0) removed.clear();
  const bool grown = manifest_.generation > 0 && !compact;
  build_structure(folder_, {rows.vectors(), removed, grown ? &manifest_ : nullptr}, next, context,
                  progress);
  if (next.removed_count > 0) {
    next.removed = write_removed(part_path(folder_, "removed", next.generation), removed);
  }
  publish_manifest(folder_, next);
  remove_stale(folder_, next);
  return next;
}

Rows IndexWriter::copy_live(const Rows& rows, const RowMarks& removed, IndexManifest& next) const {
  ++next.row_files;
  const std::size_t width = next.settings.width;
  RowWriter copy(folder_, next.row_files, width, 0);
  for (std::size_t row = 0; row < rows.count(); ++row) {
    if (!removed[row]) copy.append(rows.entry(row), {rows.vectors()[row], width});
  }
  copy.sync();
  next.count = copy.count();
  return Rows(folder_, next.row_files, width, next.count);
}

}  // namespace blip
