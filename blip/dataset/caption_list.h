#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

namespace blip {

/// How a list of captions is written: a row for each picture, several captions in its one field.
enum class ListForm {
  jsonl,  ///< {"file_name": ..., "text": ...}, or "text": [...]: Hugging Face's ImageFolder
  csv,    ///< file_name,text; both in quotes (RFC 4180), captions with line ends between
};

/// What a list holds.
struct ListedPictures {
  std::unordered_set<std::string> names;
  std::size_t whole = 0;       ///< bytes of whole rows; what follows is a part of one
  bool lacks_newline = false;  ///< after the last whole row
};

/// Reads a list's content; `where` names it in messages, `take` (which may be empty) gets each row
/// as it is. A last row that was not written whole is no error. Throws Error{io} for any other that
/// is no row of such a list.
ListedPictures read_listed(
    std::string_view content, ListForm form, const std::string& where,
    const std::function<void(const std::string& name, std::string_view row)>& take = {});

/// How captions join a text that is there.
struct Joining {
  std::string separator;  ///< between a text and a caption
  bool after = true;      ///< the captions; else before the text
};

/// `text` with `caption`; `text` itself where an earlier run joined them.
std::string joined(const std::string& text, const std::string& caption, const Joining& joining);

/// `row` with more captions; its other keys stay. A text and a caption become one text; where there
/// are several of either, or the text is a list, a list (CSV: lines). What an earlier run added is
/// not added again. A text that is null counts as none; throws Error{io} for one that is neither a
/// string nor a list of strings.
std::string with_added(std::string_view row, std::span<const std::string> captions,
                       const Joining& joining, ListForm form);

/// Throws Error{io} where with_added() would for a row of `file`; Error{too_large}.
void require_texts(const std::filesystem::path& file, ListForm form);

/// Adds the captions of the list `added` to the rows that the list `file` has of the same pictures
/// (the first of each), rows of others at its end. Whole or not at all. Throws Error{io,
/// too_large}.
void merge_captions(const std::filesystem::path& file, const std::filesystem::path& added,
                    const Joining& joining, ListForm form);

/// A list on disk that rows are appended to. One process at a time.
class CaptionList {
 public:
  /// Opens or begins `file`. A last row that was not written whole is cut off. A file that was
  /// begun and got no row is removed at the end.
  /// Throws Error{usage} when another process has it open, Error{io, too_large}.
  CaptionList(std::filesystem::path file, ListForm form);
  ~CaptionList();
  CaptionList(const CaptionList&) = delete;
  CaptionList& operator=(const CaptionList&) = delete;

  /// Throws Error{unsupported} for a name that is not UTF-8: no list can hold it.
  bool has(const std::string& name) const;
  std::size_t size() const { return listed_.names.size(); }
  /// Bytes of the row that was cut off.
  std::size_t cut_off() const { return cut_off_; }

  /// The row is with the system, whole, when this returns; where that fails the file is as it was.
  /// Bytes of captions that are not UTF-8 become U+FFFD. Throws Error{io}.
  void append(const std::string& name, std::span<const std::string> captions);

  /// Appends the rows that the list `from`, of the same form, has of `names`, as they are; none
  /// where there is no `from`. Throws Error{io, too_large}.
  void take_over(const std::filesystem::path& from, const std::unordered_set<std::string>& names);

 private:
  void open_list();
  void close_list();
  void write(std::string_view bytes);
  [[noreturn]] void fail(int error) const;

  std::filesystem::path file_;
  ListForm form_;
  bool began_;  ///< there was no file
  int descriptor_;
  std::size_t size_ = 0;  ///< of the file
  std::size_t cut_off_ = 0;
  ListedPictures listed_;
};

}  // namespace blip
