#include "blip/dataset/caption_list.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <ostream>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/dataset/csv.h"
#include "blip/dataset/pair_texts.h"

namespace blip {
namespace {

bool is_there(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(file, ignored));
}

using TakeRow = std::function<void(const std::string&, std::string_view)>;

constexpr std::size_t kMaxBytes = std::size_t{8} << 30;
constexpr std::string_view kHeader = "file_name,text\n";

/// The name of the picture in a line; nothing where it is no row of a list.
std::optional<std::string> name_in_line(std::string_view line) {
  try {
    const Json row = parse_json(line, "");
    if (!row.is_object() || !row.contains("file_name") || !row["file_name"].is_string()) return {};
    return row["file_name"].get<std::string>();
  } catch (const Error&) {
    return {};
  }
}

[[noreturn]] void fail_row(std::size_t number, const std::string& where, const char* expected) {
  throw Error(ErrorCode::io, (number == 0 ? "the first row" : "row " + std::to_string(number)) +
                                 " of " + where + " is not " + expected);
}

/// Whether `tail` can be what is left of a row that append() wrote. What a person wrote is not cut
/// off.
bool is_part_of_line(std::string_view tail) {
  constexpr std::string_view kBegin = R"({"file_name":")";
  return tail.starts_with(kBegin) || kBegin.starts_with(tail);
}

/// The same for CSV. A quote that somebody forgot would make one row of all that follow: there are
/// whole ones among them.
bool is_part_of_record(std::string_view tail) {
  constexpr std::size_t kMostBytes = std::size_t{1} << 16;
  if (!tail.starts_with('"') || tail.size() > kMostBytes) return false;
  for (std::size_t at = tail.find('\n'); at != std::string_view::npos;
       at = tail.find('\n', at + 1)) {
    const CsvRecord record = csv_record_at(tail, at + 1);
    if (record.whole && record.newline && record.fields.size() == 2) return false;
  }
  return true;
}

ListedPictures read_lines(std::string_view content, const std::string& where, const TakeRow& take) {
  ListedPictures listed;
  for (std::size_t number = 1; listed.whole < content.size(); ++number) {
    const std::size_t newline = content.find('\n', listed.whole);
    const bool last = newline == std::string_view::npos;
    const std::string_view line = content.substr(listed.whole, newline - listed.whole);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      const auto name = name_in_line(line);
      if (!name && last && is_part_of_line(line)) break;
      if (!name) fail_row(number, where, "an object with a \"file_name\"");
      listed.names.insert(*name);
      if (take) take(*name, line);
    }
    listed.whole = last ? content.size() : newline + 1;
    listed.lacks_newline = last;
  }
  return listed;
}

ListedPictures read_records(std::string_view content, const std::string& where,
                            const TakeRow& take) {
  ListedPictures listed;
  if (kHeader.starts_with(content)) {  // or a part of it
    listed.whole = content == kHeader ? content.size() : 0;
    return listed;
  }
  for (std::size_t number = 0; listed.whole < content.size(); ++number) {
    const std::string_view rest = content.substr(listed.whole);
    const CsvRecord record = csv_record_at(content, listed.whole);
    const std::vector<std::string>& fields = record.fields;
    if (number == 0 && (fields.size() != 2 || fields[0] != "file_name" || fields[1] != "text"))
      fail_row(0, where, "file_name,text");
    const bool fits = record.whole && fields.size() == 2;
    const bool blank = record.newline && fields.size() == 1 && fields[0].empty();
    // Both fields of a row that append() wrote are in quotes, so its end can be told.
    const bool closed = record.newline || !rest.starts_with('"') || rest.ends_with('"');
    if (!record.newline && (!fits || !closed) && is_part_of_record(rest)) break;
    if (!(fits && closed) && !blank) fail_row(number, where, "two fields: a file's name, a text");
    if (number > 0 && fits) {
      listed.names.insert(fields[0]);
      if (take) take(fields[0], content.substr(listed.whole, record.end - listed.whole));
    }
    listed.whole = record.end;
    listed.lacks_newline = !record.newline;
  }
  return listed;
}

std::string with_line_end(std::string_view row) {
  std::string whole(row);
  if (!whole.ends_with('\n')) whole += '\n';
  return whole;
}

std::string lines(std::span<const std::string> captions) {
  std::string text;
  for (const std::string& caption : captions) text += (text.empty() ? "" : "\n") + caption;
  return text;
}

std::string row_of(const std::string& name, std::span<const std::string> captions, ListForm form) {
  if (form == ListForm::jsonl) {
    const Json text = captions.size() == 1
                          ? Json(captions.front())
                          : Json(std::vector<std::string>(captions.begin(), captions.end()));
    return dump({{"file_name", name}, {"text", text}}) + '\n';
  }
  return in_csv_quotes(name) + ',' + in_csv_quotes(valid_utf8(lines(captions))) + '\n';
}

using Texts = std::vector<std::string>;

/// `field` of a CSV list.
Texts lines_of(std::string_view field) {
  Texts texts;
  while (!field.empty()) {
    const std::size_t end = std::min(field.find('\n'), field.size());
    texts.emplace_back(field.substr(0, end));
    field.remove_prefix(std::min(end + 1, field.size()));
  }
  return texts;
}

Texts texts_in(const Json& row) {
  const Json text = row.value("text", Json());
  if (text.is_null()) return {};
  if (text.is_string()) return {text.get<std::string>()};
  const auto is_string = [](const Json& one) { return one.is_string(); };
  if (!text.is_array() || !std::ranges::all_of(text, is_string))
    throw Error(ErrorCode::io, "the text of " + in_quotes(row["file_name"].get<std::string>()) +
                                   " is neither a string nor a list of strings");
  return text.get<Texts>();
}

Texts texts_in(std::string_view row, ListForm form) {
  return form == ListForm::csv ? lines_of(csv_record_at(row, 0).fields.at(1))
                               : texts_in(parse_json(row, "a row"));
}

void read_list(const std::filesystem::path& file, ListForm form, const TakeRow& take) {
  read_listed(read_file(file, kMaxBytes), form, file.string(), take);
}

/// joined(), where there may be only one of them.
std::string one_of_both(const std::string& text, const std::string& caption, const Joining& how) {
  if (caption.empty()) return text;
  return text.empty() ? caption : joined(text, caption, how);
}

/// All of both, each of the captions once.
Texts listed(const Texts& texts, const Texts& captions, bool after) {
  Texts added;
  for (const std::string& caption : captions) {
    if (std::ranges::find(texts, caption) == texts.end()) added.push_back(caption);
  }
  Texts all = after ? texts : added;
  const Texts& others = after ? added : texts;
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

}  // namespace

ListedPictures read_listed(std::string_view content, ListForm form, const std::string& where,
                           const TakeRow& take) {
  return form == ListForm::jsonl ? read_lines(content, where, take)
                                 : read_records(content, where, take);
}

std::string joined(const std::string& text, const std::string& caption, const Joining& joining) {
  const std::string& between = joining.separator;
  const bool there = text == caption || (joining.after ? text.ends_with(between + caption)
                                                       : text.starts_with(caption + between));
  if (there) return text;
  return joining.after ? text + between + caption : caption + between + text;
}

std::string with_added(std::string_view row, std::span<const std::string> captions,
                       const Joining& joining, ListForm form) {
  Texts added;
  for (const std::string& caption : captions) added.push_back(valid_utf8(caption));
  if (form == ListForm::csv) {
    const CsvRecord record = csv_record_at(row, 0);
    const Texts before = lines_of(record.fields.at(1));
    const bool one = before.size() < 2 && added.size() == 1;
    const std::string text = one ? one_of_both(record.fields[1], added.front(), joining)
                                 : lines(listed(before, added, joining.after));
    if (text == record.fields[1]) return std::string(row);
    return in_csv_quotes(record.fields[0]) + ',' + in_csv_quotes(text) + '\n';
  }
  Json changed = parse_json(row, "a row");
  const Texts before = texts_in(changed);
  const bool one = !changed.value("text", Json()).is_array() && added.size() == 1;
  const Json text =
      one ? Json(one_of_both(before.empty() ? "" : before.front(), added.front(), joining))
          : Json(listed(before, added, joining.after));
  if (changed.contains("text") && changed["text"] == text) return std::string(row);
  changed["text"] = text;
  return dump(changed) + '\n';
}

void require_texts(const std::filesystem::path& file, ListForm form) {
  read_list(file, form, [form](const std::string&, std::string_view row) { texts_in(row, form); });
}

void merge_captions(const std::filesystem::path& file, const std::filesystem::path& added,
                    const Joining& joining, ListForm form) {
  std::unordered_map<std::string, std::string> rows;
  std::vector<std::string> order;
  read_list(added, form, [&](const std::string& name, std::string_view row) {
    if (rows.try_emplace(name, with_line_end(row)).second) order.push_back(name);
  });
  std::string merged(form == ListForm::csv ? kHeader : "");
  if (is_there(file)) {
    read_list(file, form, [&](const std::string& name, std::string_view row) {
      const auto of_picture = rows.extract(name);
      merged += with_line_end(
          of_picture ? with_added(row, texts_in(of_picture.mapped(), form), joining, form)
                     : std::string(row));
    });
  }
  for (const std::string& name : order) {
    if (const auto row = rows.extract(name)) merged += row.mapped();
  }
  write_file(file, [&](std::ostream& out) { out << merged; });
}

CaptionList::CaptionList(std::filesystem::path file, ListForm form)
    : file_(std::move(file)),
      form_(form),
      began_(!is_there(file_)),
      descriptor_(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail(errno);
  try {
    open_list();
  } catch (...) {
    close_list();
    throw;
  }
}

CaptionList::~CaptionList() {
  close_list();
}

void CaptionList::close_list() {
  if (began_ && listed_.names.empty()) ::unlink(file_.c_str());
  ::close(descriptor_);
}

void CaptionList::fail(int error) const {
  throw Error(ErrorCode::io, "cannot write " + file_.string() + ": " + std::strerror(error));
}

void CaptionList::open_list() {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
    throw Error(ErrorCode::usage, file_.string() + " is in use by another run");
  const std::string content = read_file(file_, kMaxBytes);
  listed_ = read_listed(content, form_, file_.string());
  size_ = listed_.whole;
  cut_off_ = content.size() - listed_.whole;
  if (cut_off_ > 0 && ::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0) fail(errno);
  if (size_ == 0 && form_ == ListForm::csv) write(kHeader);
  if (listed_.lacks_newline) write("\n");
}

bool CaptionList::has(const std::string& name) const {
  if (valid_utf8(name) != name) {
    throw Error(ErrorCode::unsupported, "the picture's name is not UTF-8, as " + file_.string() +
                                            " has to be: " + in_quotes(name));
  }
  return listed_.names.contains(name);
}

void CaptionList::append(const std::string& name, std::span<const std::string> captions) {
  write(row_of(name, captions, form_));
  listed_.names.insert(name);
}

void CaptionList::take_over(const std::filesystem::path& from,
                            const std::unordered_set<std::string>& names) {
  if (!is_there(from)) return;
  std::string rows;
  read_list(from, form_, [&](const std::string& name, std::string_view row) {
    if (!names.contains(name)) return;
    listed_.names.insert(name);
    rows += with_line_end(row);
  });
  write(rows);
}

void CaptionList::write(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done,
                               static_cast<off_t>(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      // The part of a row that went before a full disk. Where this fails too, the next run mends
      // it.
      [[maybe_unused]] const int ignored = ::ftruncate(descriptor_, static_cast<off_t>(size_));
      fail(error);
    }
    done += static_cast<std::size_t>(n);
  }
  size_ += bytes.size();
}

}  // namespace blip
