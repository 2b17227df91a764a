#include "apps/cli/text_flags.h"

#include <filesystem>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"

namespace blip::cli {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

std::vector<std::string> lines_of(std::string_view content) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());
  std::vector<std::string> lines;
  while (!content.empty()) {
    const std::size_t end = content.find('\n');
    std::string_view line = content.substr(0, end);
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

std::vector<std::string> strings_of(std::string_view content, const std::string& file) {
  try {
    return parse_json(content, file).get<std::vector<std::string>>();
  } catch (const std::exception&) {
    throw Error(ErrorCode::usage, file + " must hold one JSON array of strings");
  }
}

}  // namespace

void TextFlags::add_to(CLI::App& command, const std::string& one, const std::string& many,
                       const std::string& what) {
  names_ = "--" + one + " or --" + many;
  command.add_option("--" + one, texts, what + " (may be given several times)")
      ->allow_extra_args(false);  // a picture named after it is no text
  command.add_option("--" + many, file,
                     "file with one in each line, or (.json) an array of strings");
}

std::vector<std::string> TextFlags::read() const {
  std::vector<std::string> all = texts;
  if (!file.empty()) {
    const std::vector<std::string> more = read_texts(file);
    all.insert(all.end(), more.begin(), more.end());
  }
  if (all.empty()) throw Error(ErrorCode::usage, names_ + " is required");
  return all;
}

std::vector<std::string> read_texts(const std::string& file) {
  const std::string content = read_file(file, kMaxBytes);
  const bool json = std::filesystem::path(file).extension() == ".json";
  std::vector<std::string> texts = json ? strings_of(content, file) : lines_of(content);
  std::erase_if(texts, [](const std::string& text) {
    return text.find_first_not_of(" \t\f\v") == std::string::npos;
  });
  if (texts.empty()) throw Error(ErrorCode::usage, file + " holds no texts");
  return texts;
}

}  // namespace blip::cli
