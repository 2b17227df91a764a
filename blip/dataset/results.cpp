#include "blip/dataset/results.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <ostream>
#include <string_view>
#include <unordered_set>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/json_rows.h"

namespace blip {
namespace {

template <class Result>
std::vector<Result> read_list(const std::filesystem::path& file, const char* id_key,
                              const char* text_key) {
  std::vector<Result> results;
  std::unordered_set<std::int64_t> seen;
  for_each_row(file, [&](const Row& row) {
    if (!row.list().empty())
      throw Error(ErrorCode::io, file.string() + " is not a list of results");
    Result result{row.integer(id_key), row.text(text_key)};
    if (!seen.insert(row.integer(id_key)).second) {
      throw Error(ErrorCode::io,
                  row.where() + " repeats " + id_key + " " + std::to_string(row.integer(id_key)));
    }
    results.push_back(std::move(result));
  });
  return results;
}

struct Line {
  const char* id_key;
  std::int64_t id;
  const char* text_key;
  const std::string& text;
};

Line line_of(const CaptionResult& result) {
  return {"image_id", result.image_id, "caption", result.caption};
}

Line line_of(const VqaResult& result) {
  return {"question_id", result.question_id, "answer", result.answer};
}

template <class Result>
void write_list(const std::filesystem::path& file, std::span<const Result> results) {
  write_file(file, [&](std::ostream& out) {
    out << '[';
    for (const Result& result : results) {
      const Line line = line_of(result);
      if (&result != results.data()) out << ", ";
      out << "{\"" << line.id_key << "\": " << line.id << ", \"" << line.text_key
          << "\": " << Json(line.text).dump(-1, ' ', true, Json::error_handler_t::replace) << '}';
    }
    out << ']';
  });
}

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

NlvrResult nlvr_result(std::string_view line, const std::string& where) {
  const std::size_t comma = line.find(',');
  const std::string label =
      comma == std::string_view::npos ? "" : lower_ascii(line.substr(comma + 1));
  if (label != "true" && label != "false") {
    throw Error(ErrorCode::io, where + " is " + in_quotes(line) +
                                   " where an identifier, a comma and True or False were expected");
  }
  return {std::string(line.substr(0, comma)), label == "true"};
}

}  // namespace

std::vector<CaptionResult> read_caption_results(const std::filesystem::path& file) {
  return read_list<CaptionResult>(file, "image_id", "caption");
}

std::vector<VqaResult> read_vqa_results(const std::filesystem::path& file) {
  return read_list<VqaResult>(file, "question_id", "answer");
}

std::vector<NlvrResult> read_nlvr_results(const std::filesystem::path& file) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
  const std::string content = read_file(file, kMaxBytes);
  std::string_view text = content;
  std::vector<NlvrResult> results;
  std::unordered_set<std::string> seen;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string where = "line " + std::to_string(number) + " of " + file.string();
    results.push_back(nlvr_result(line, where));
    if (!seen.insert(results.back().identifier).second) {
      throw Error(ErrorCode::io,
                  where + " repeats the identifier " + in_quotes(results.back().identifier));
    }
  }
  return results;
}

void write_results(const std::filesystem::path& file, std::span<const CaptionResult> results) {
  write_list(file, results);
}

void write_results(const std::filesystem::path& file, std::span<const VqaResult> results) {
  write_list(file, results);
}

void write_results(const std::filesystem::path& file, std::span<const NlvrResult> results) {
  write_file(file, [&](std::ostream& out) {
    for (const NlvrResult& result : results) {
      out << result.identifier << (result.label ? ",True\n" : ",False\n");
    }
  });
}

}  // namespace blip
