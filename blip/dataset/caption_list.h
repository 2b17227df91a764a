#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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

/// A list's rows as they are, with their line ends, by the names of their pictures: the first of
/// each. None where there is no `file`. Throws Error{io, too_large}.
std::unordered_map<std::string, std::string> rows_by_name(const std::filesystem::path& file,
                                                          ListForm form);

/// Captions that join the text which a list has of a picture.
struct AddedCaptions {
  std::span<const std::string> captions;
  std::string separator;  ///< between a text and a caption
  bool after = true;      ///< else before it
};

/// `row` with more captions; its other keys stay. A text and a caption become one text, several of
/// either a list (CSV: one text with line ends). What an earlier run added is not added again.
/// Throws Error{io} for a text that is neither a string nor a list of strings.
std::string with_added(std::string_view row, const AddedCaptions& added, ListForm form);

/// Puts the rows of the list `changed` in the places that their pictures have in the list `file`,
/// those of others at its end. Whole or not at all. Throws Error{io, too_large}.
void merge_rows(const std::filesystem::path& file, const std::filesystem::path& changed,
                ListForm form);

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

  /// The same for a row as it is, with its line end.
  void append_row(const std::string& name, std::string_view row);

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
