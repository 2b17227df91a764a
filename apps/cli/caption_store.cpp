#include "apps/cli/caption_store.h"

#include <string_view>
#include <system_error>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/picture_files.h"

namespace blip::cli {
namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 20;
constexpr std::string_view kBlanks = " \t\r\n";

/// An ending of file names with its dot. Throws Error{usage} for one that is none, or a picture's.
std::string checked_ending(const char* flag, std::string ending) {
  if (!ending.starts_with('.')) ending.insert(0, ".");
  if (ending.size() == 1 || ending.find('/') != std::string::npos) {
    throw Error(ErrorCode::usage, std::string(flag) +
                                      " takes the end of a file's name, such as "
                                      ".txt, but got " +
                                      in_quotes(ending));
  }
  if (is_picture_name("x" + ending))
    throw Error(ErrorCode::usage, std::string(flag) + " " + ending + " would name pictures");
  return ending;
}

void check_list(const char* flag, const std::string& file) {
  if (is_picture_name(file))
    throw Error(ErrorCode::usage, std::string(flag) + " " + in_quotes(file) + " names a picture");
}

/// "\n" and "\t" as people write them in a shell.
std::string unescaped(std::string text) {
  for (const auto& [written, meant] : {std::pair{"\\n", "\n"}, std::pair{"\\t", "\t"}}) {
    for (std::size_t at = 0; (at = text.find(written, at)) != std::string::npos; ++at)
      text.replace(at, 2, meant);
  }
  return text;
}

std::string braces_doubled(const std::string& text) {
  std::string doubled;
  for (const char c : text) doubled.append(c == '{' || c == '}' ? 2 : 1, c);
  return doubled;
}

CaptionFields fields_of(const PictureInput& picture, std::string tags, std::string caption) {
  std::error_code ignored;
  const auto path = std::filesystem::absolute(picture.path, ignored).lexically_normal();
  return {std::move(caption), path.stem().string(), path.parent_path().filename().string(),
          std::move(tags)};
}

}  // namespace

void CaptionFileFlags::add_to(CLI::App& command) {
  const auto add = [&](CLI::Option* option) {
    for_files_.push_back(option->group("Files of captions"));
    return option;
  };
  CLI::Option* beside = command.add_option(
      "--sidecar", sidecar, "write each caption to a file beside its picture: .txt, .caption");
  CLI::Option* lines = command.add_option(
      "--metadata", metadata, "append to a file of JSON lines, {\"file_name\", \"text\"}");
  CLI::Option* table = command.add_option("--csv", csv, "append to a CSV file, file_name,text");
  for (CLI::Option* option : {beside, lines, table}) {
    option->allow_extra_args(false)->group("Files of captions");
    for (CLI::Option* other : {beside, lines, table}) {
      if (other != option) option->excludes(other);
    }
  }
  CLI::Option* anew = add(command.add_flag("--overwrite", overwrite, "caption all pictures anew"));
  CLI::Option* after =
      add(command.add_flag("--append", append, "put captions after the text that is there"));
  CLI::Option* before = add(command.add_flag("--prepend", prepend, "put captions before it"));
  anew->excludes(after)->excludes(before);
  after->excludes(before);
  CLI::Option* leave = add(command.add_flag(
      "--skip-existing", skip, "leave pictures alone that have a caption (this is the default)"));
  leave->excludes(anew)->excludes(after)->excludes(before);
  add(command.add_option("--separator", separator,
                         "between text and caption (default: comma and space; \\n: a new line)"));
  add(command.add_option("--prefix", prefix, "before each caption"));
  add(command.add_option("--suffix", suffix, "after each caption"));
  add(command.add_option("--template", pattern,
                         "what is written: {caption}, {name} (of the file), {directory} (of the "
                         "folder), {tags} (see --tags)"))
      ->capture_default_str();
  add(command.add_option("--tags", tags,
                         "{tags} is the text of the file beside the picture with this ending "
                         "(default: of the sidecar that --overwrite replaces)"));
}

Existing CaptionFileFlags::existing() const {
  if (overwrite) return Existing::overwrite;
  if (append) return Existing::append;
  return prepend ? Existing::prepend : Existing::skip;
}

std::optional<Joining> CaptionFileFlags::joining() const {
  if (!append && !prepend) return std::nullopt;
  return Joining{separator, append};
}

void CaptionFileFlags::check(bool several) {
  const auto refuse = [](const std::vector<const CLI::Option*>& options, const char* without) {
    for (const CLI::Option* option : options) {
      if (option->count() > 0)
        throw Error(ErrorCode::usage,
                    option->get_name() + " has an effect only together with " + without);
    }
  };
  if (!given()) return refuse(for_files_, "--sidecar, --metadata or --csv");
  for (std::string* text : {&separator, &prefix, &suffix, &pattern}) *text = unescaped(*text);
  if (!sidecar.empty()) sidecar = checked_ending("--sidecar", sidecar);
  if (!tags.empty()) tags = checked_ending("--tags", tags);
  check_list("--metadata", metadata);
  check_list("--csv", csv);
  const bool wants_tags = CaptionTemplate(pattern).has_tags();
  if (!wants_tags && !tags.empty())
    throw Error(ErrorCode::usage, "--tags has an effect only with {tags} in --template");
  if (!wants_tags) return;
  if (tags.empty() && (sidecar.empty() || existing() != Existing::overwrite)) {
    throw Error(ErrorCode::usage,
                "{tags} stands for the text of another file, which --tags names, or of the sidecar "
                "with --overwrite");
  }
  if (tags.empty()) tags = sidecar;
  if (tags == sidecar && existing() != Existing::overwrite)
    throw Error(ErrorCode::usage, "--tags names the sidecar itself, which takes --overwrite");
  if (tags == sidecar && several)
    throw Error(ErrorCode::usage,
                "{tags} of the sidecar itself goes with one caption, not several");
}

CaptionWords::CaptionWords(const CaptionFileFlags& flags)
    : template_(braces_doubled(flags.prefix) + flags.pattern + braces_doubled(flags.suffix)) {}

std::vector<std::string> CaptionWords::texts(const PictureInput& picture, const std::string& tags,
                                             const std::vector<std::string>& captions) const {
  std::vector<std::string> texts;
  for (const std::string& caption : captions)
    texts.push_back(template_.fill(fields_of(picture, tags, caption)));
  return texts;
}

bool CaptionWords::made_before(const PictureInput& picture, const std::string& text,
                               const std::string& caption) const {
  const CaptionFields fields = fields_of(picture, "", caption);
  // `text` was trimmed when it was read; a mark keeps the inner ends of what surrounds the tags.
  auto [before, after] = template_.around_tags(fields);
  before = trimmed(before + '|');
  after = trimmed('|' + after);
  before.pop_back();
  after.erase(0, 1);
  return text == trimmed(template_.fill(fields)) ||
         (text.size() >= before.size() + after.size() && text.starts_with(before) &&
          text.ends_with(after));
}

std::unique_ptr<CaptionStore> open_caption_store(const CaptionFileFlags& flags) {
  return flags.sidecar.empty() ? open_list(flags) : open_sidecars(flags);
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(kBlanks) + 1);
  text.erase(0, text.find_first_not_of(kBlanks));
  return text;
}

std::string text_beside(const std::filesystem::path& picture, const std::string& ending) {
  const std::filesystem::path file = std::filesystem::path(picture).replace_extension(ending);
  std::string text;
  try {
    text = read_file(file, kMaxText);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::not_found) throw;
  }
  return trimmed(std::move(text));
}

}  // namespace blip::cli
