#include "blip/dataset/tar_samples.h"

#include <archive.h>
#include <archive_entry.h>

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr std::int64_t kMaxFile = std::int64_t{256} << 20;
constexpr std::size_t kMaxFiles = 64;
constexpr std::size_t kBlock = std::size_t{64} << 10;
constexpr std::size_t kMaxExpanded = 1'000'000;

struct Name {
  std::string key, ending;
};

/// "a.b/000.seg.png" is "a.b/000" and "seg.png".
Name split_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::size_t base = slash == std::string_view::npos ? 0 : slash + 1;
  const std::size_t dot = path.find('.', base);
  if (dot == std::string_view::npos) return {std::string(path), ""};
  return {std::string(path.substr(0, dot)), std::string(path.substr(dot + 1))};
}

}  // namespace

struct TarReader::State {
  struct Close {
    void operator()(archive* a) const { archive_read_free(a); }
  };

  std::string file;
  std::unique_ptr<archive, Close> tar{archive_read_new()};
  archive_entry* entry = nullptr;  ///< the file that comes next; null at the end
  Repeated repeated = Repeated::is_error;

  [[noreturn]] void fail(ErrorCode code, const std::string& reason) {
    entry = nullptr;
    throw Error(code, file + " " + reason);
  }

  [[noreturn]] void fail_damaged() {
    const char* reason = archive_error_string(tar.get());
    fail(ErrorCode::io,
         std::string("is no tar that can be read: ") + (reason ? reason : "damaged"));
  }

  /// Goes to the next regular file.
  void advance() {
    for (;;) {
      const int status = archive_read_next_header(tar.get(), &entry);
      if (status == ARCHIVE_EOF) {
        entry = nullptr;
        return;
      }
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail_damaged();
      if (archive_entry_filetype(entry) == AE_IFREG && archive_entry_pathname(entry) != nullptr &&
          archive_entry_hardlink(entry) == nullptr) {
        return;
      }
    }
  }

  /// Of a file that is too large nothing is read.
  std::string content(const std::string& name, std::optional<Error>& error) {
    const std::int64_t size = archive_entry_size(entry);
    if (size < 0) fail(ErrorCode::io, "has " + in_quotes(name) + " of a negative size");
    if (size > kMaxFile) {
      error.emplace(ErrorCode::too_large, file + " has " + in_quotes(name) + " of " +
                                              std::to_string(size) + " bytes; at most " +
                                              std::to_string(kMaxFile) + " are read");
      return "";
    }
    std::string bytes;
    // Not all at once: a header may promise what the file does not have.
    while (static_cast<std::int64_t>(bytes.size()) < size) {
      const std::size_t done = bytes.size();
      bytes.resize(std::min(static_cast<std::size_t>(size), done + kBlock));
      const la_ssize_t n = archive_read_data(tar.get(), bytes.data() + done, bytes.size() - done);
      if (n <= 0) fail(ErrorCode::io, "ends within " + in_quotes(name));
      bytes.resize(done + static_cast<std::size_t>(n));
    }
    return bytes;
  }

  bool next(TarSample* sample) {
    if (entry == nullptr) return false;
    const std::string key = split_name(archive_entry_pathname(entry)).key;
    if (sample != nullptr) *sample = {key, {}, {}};
    for (std::size_t count = 0; entry != nullptr; ++count) {
      const std::string path = archive_entry_pathname(entry);
      Name name = split_name(path);
      if (name.key != key) break;
      if (sample != nullptr && repeated == Repeated::begins_sample &&
          (count == kMaxFiles || sample->files.contains(name.ending))) {
        break;
      }
      if (count == kMaxFiles) {
        fail(ErrorCode::too_large, "has more than 64 files named " + in_quotes(key));
      }
      if (sample != nullptr) {
        if (sample->files.contains(name.ending))
          fail(ErrorCode::io, "has " + in_quotes(path) + " twice");
        sample->files[std::move(name.ending)] = content(path, sample->error);
      }
      advance();
    }
    return true;
  }
};

TarReader::TarReader(const std::filesystem::path& file, Repeated repeated)
    : state_(std::make_unique<State>()) {
  state_->file = file.string();
  state_->repeated = repeated;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    throw Error(ErrorCode::not_found, "there is no file " + file.string());
  }
  archive* tar = state_->tar.get();
  archive_read_support_filter_all(tar);
  archive_read_support_format_tar(tar);
  if (archive_read_open_filename(tar, file.c_str(), kBlock) != ARCHIVE_OK) state_->fail_damaged();
  state_->advance();
}

TarReader::TarReader(TarReader&&) noexcept = default;
TarReader& TarReader::operator=(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

bool TarReader::next(TarSample& sample) {
  return state_->next(&sample);
}

bool TarReader::pass_over() {
  return state_->next(nullptr);
}

std::vector<std::string> expand_braces(std::string_view pattern) {
  const std::size_t open = pattern.find('{');
  const std::size_t dots =
      pattern.find("..", open == std::string_view::npos ? pattern.size() : open);
  const std::size_t close =
      pattern.find('}', dots == std::string_view::npos ? pattern.size() : dots);
  if (close == std::string_view::npos) return {std::string(pattern)};
  const std::string_view low = pattern.substr(open + 1, dots - open - 1);
  const std::string_view high = pattern.substr(dots + 2, close - dots - 2);
  std::uint64_t first = 0, last = 0;
  const auto whole = [](std::string_view text, std::uint64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
  };
  if (!whole(low, first) || !whole(high, last) || first > last || last - first >= kMaxExpanded) {
    throw Error(ErrorCode::usage, in_quotes(pattern) + " should have a range such as {000..099}");
  }
  const std::vector<std::string> rest = expand_braces(pattern.substr(close + 1));
  if ((last - first + 1) * rest.size() > kMaxExpanded) {
    throw Error(ErrorCode::usage, in_quotes(pattern) + " stands for more than a million files");
  }
  std::vector<std::string> names;
  for (std::uint64_t i = first; i <= last; ++i) {
    std::string digits = std::to_string(i);
    if (digits.size() < low.size()) digits.insert(0, low.size() - digits.size(), '0');
    for (const std::string& end : rest) {
      names.push_back(std::string(pattern.substr(0, open)) + digits + end);
    }
  }
  return names;
}

}  // namespace blip
