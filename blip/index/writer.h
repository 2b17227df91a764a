#pragma once

#include <filesystem>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/index/durable.h"
#include "blip/index/index.h"

namespace blip {

/// Builds an index and lets it grow. One writer at a time holds a folder; readers are not
/// disturbed, and see a change whole, when commit() replaced the manifest, or not at all. Rows that
/// were appended and not committed, because the process died, are found again by the next writer.
/// Takes memory for some 60 bytes a row, and for a graph 300 more; vectors stay in files.
class IndexWriter {
 public:
  /// A new index. The folder is made; it may be there when it is empty or holds an index of the
  /// same settings whose first build has not ended. Throws Error{usage} for a folder that holds
  /// something else or an index that is finished; Error{io} also when another process holds it.
  static IndexWriter create(const std::filesystem::path& folder, const IndexSettings& settings);
  /// Goes on with an index of these settings; its kind stays what it is.
  /// Throws Error{usage} when settings differ (require_same), and as VectorIndex::open does, except
  /// that the first build need not have ended.
  static IndexWriter open(const std::filesystem::path& folder, const IndexSettings& settings);

  /// As it was before this writer.
  const IndexManifest& manifest() const { return manifest_; }
  /// Rows found that a process before appended and did not commit.
  std::size_t recovered() const { return recovered_; }
  /// Rows so far, replaced ones included.
  std::size_t rows() const { return rows_.count(); }
  /// Whether the entry is there with the same size and time.
  bool has(const IndexEntry& entry) const;
  /// `vector` [width], of length 1. An older row of the same name is replaced.
  /// Throws as RowWriter::append does.
  void append(const IndexEntry& entry, std::span<const float> vector);

  /// Hands what was appended to the system, so that the death of the process does not lose it.
  /// append() does so about once a second.
  void flush() { rows_.flush(); }

  /// Makes what was appended part of the index; the writer has then done its work.
  /// Throws Error{cancelled} and Error{io}; the rows then wait for the next writer.
  IndexManifest commit(const Context& context = {}, const IndexProgress& progress = {});

 private:
  /// The row that a name has now, and a checksum of the rest of its entry.
  struct Latest {
    std::uint32_t row;
    std::uint64_t state;
  };

  IndexWriter(const std::filesystem::path& folder, FolderLock lock, const IndexManifest& manifest);
  void note(std::size_t row, std::string_view name, std::uint64_t size, std::int64_t modified);
  void mark_replaced(const Rows& rows, RowMarks& removed) const;
  /// The rows that are not removed, as files of the next number.
  Rows copy_live(const Rows& rows, const RowMarks& removed, IndexManifest& next) const;

  std::filesystem::path folder_;
  FolderLock lock_;
  IndexManifest manifest_;
  RowMarks removed_;  // of the committed rows
  std::size_t recovered_ = 0;
  std::unordered_map<std::uint64_t, Latest> latest_;               // by the checksum of the name
  std::vector<std::pair<std::uint32_t, std::uint32_t>> replaced_;  // older and newer row
  RowWriter rows_;
};

}  // namespace blip
