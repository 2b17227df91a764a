#include "blip/dataset/nlvr_dataset.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/json_rows.h"

namespace blip {
namespace {

std::optional<bool> label_of(const Row& row) {
  if (!row.has("label")) return std::nullopt;
  const std::string& label = row.text("label");
  if (label == "True" || label == "true") return true;
  if (label == "False" || label == "false") return false;
  throw Error(ErrorCode::io, row.where() + " has the label " + in_quotes(label) +
                                 " where True or False was expected");
}

/// "dev-850-1-0" without its last `count` parts.
std::string without_parts(std::string identifier, int count, const std::string& where) {
  for (; count > 0; --count) {
    const std::size_t dash = identifier.rfind('-');
    if (dash == std::string::npos) {
      throw Error(ErrorCode::io, where + " has the identifier " + in_quotes(identifier) +
                                     " where split-set-pair-sentence was expected");
    }
    identifier.resize(dash);
  }
  return identifier;
}

/// Statements are numbered within a set of pairs: "dev-850-1-0" is about pair 1 of set 850.
NlvrExample official(const Row& row) {
  NlvrExample example;
  example.identifier = row.text("identifier");
  example.sentence = row.text("sentence");
  example.label = label_of(row);
  const std::string pair = without_parts(example.identifier, 1, row.where());
  const std::string set = without_parts(pair, 1, row.where());
  example.images = {pair + "-img0.png", pair + "-img1.png"};
  example.group = set + " " + example.identifier.substr(pair.size());
  return example;
}

NlvrExample authors(const Row& row, std::size_t number) {
  NlvrExample example;
  example.identifier = std::to_string(number);
  example.sentence = row.text("sentence");
  example.label = label_of(row);
  const std::vector<std::string> images = row.texts("images");
  if (images.size() != 2) {
    throw Error(ErrorCode::io, row.where() + " has " + std::to_string(images.size()) +
                                   " pictures where 2 were expected");
  }
  example.images = {images[0], images[1]};
  // The set is in the picture's name: dev/dev-850-1-img0.png.
  std::string set = std::filesystem::path(images[0]).stem().string();
  for (int parts = 0; parts < 2; ++parts) set.resize(std::min(set.rfind('-'), set.size()));
  example.group = set + " " + example.sentence;
  return example;
}

/// Whether the file's first character opens a list.
bool is_list(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const std::string_view text(reinterpret_cast<const char*>(mapped->bytes().data()),
                              mapped->bytes().size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '[';
}

}  // namespace

std::vector<NlvrExample> read_nlvr(const std::filesystem::path& file) {
  std::vector<NlvrExample> examples;
  std::unordered_set<std::string> seen;
  const auto take = [&](NlvrExample example, const Row& row) {
    if (!seen.insert(example.identifier).second) {
      throw Error(ErrorCode::io,
                  row.where() + " repeats the identifier " + in_quotes(example.identifier));
    }
    examples.push_back(std::move(example));
  };
  if (is_list(file)) {
    for_each_row(file, [&](const Row& row) { take(authors(row, examples.size()), row); });
  } else {
    for_each_line(file, [&](const Row& row) {
      take(row.has("images") ? authors(row, examples.size()) : official(row), row);
    });
  }
  if (examples.empty()) throw Error(ErrorCode::io, file.string() + " holds no examples");
  return examples;
}

}  // namespace blip
