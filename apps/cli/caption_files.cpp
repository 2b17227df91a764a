#include "apps/cli/caption_files.h"

#include <cstdio>
#include <unordered_set>

#include "blip/base/error.h"

namespace blip::cli {
namespace {

/// So many captions in a row that could not be written: the disk is full, or went away. Fewer may
/// be pictures with names that are too long.
constexpr std::size_t kHopeless = 10;

/// File names can hold line ends, and whatever a terminal obeys.
std::string printable(std::string_view message) {
  std::string text;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", byte);
    text += byte < 0x20 || byte == 0x7f ? std::string(code) : std::string(1, c);
  }
  return text;
}

}  // namespace

CaptionFiles::CaptionFiles(const CaptionFileFlags& flags, Format format)
    : format_(format), store_(open_caption_store(flags)) {}

double CaptionFiles::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::vector<PictureInput> CaptionFiles::wanted(std::vector<PictureInput> inputs) {
  std::unordered_set<std::string> seen;
  std::erase_if(inputs, [&](const PictureInput& input) {
    std::error_code ignored;
    const auto path = std::filesystem::absolute(input.path, ignored).lexically_normal();
    if (!seen.insert(path.string()).second) return true;
    try {
      if (store_->wants(input)) return false;
      ++skipped_;
    } catch (const Error& e) {
      fail(e);
    }
    return true;
  });
  return inputs;
}

void CaptionFiles::write(const PictureFlags& flags, std::span<const PictureInput> wanted,
                         const Engine& engine,
                         const std::function<void(std::span<PictureRow* const>)>& find_out) {
  std::size_t next = 0;
  try {
    stages_ =
        for_each_batch(flags, wanted, engine, [&](std::span<PictureRow> rows, Progress& progress) {
          std::vector<PictureRow*> decoded;
          for (PictureRow& row : rows) {
            if (!row.error) decoded.push_back(&row);
          }
          const double begun = seconds();
          find_out(decoded);
          text_ += seconds() - begun;
          progress.clear();
          take(wanted.subspan(next, rows.size()), rows);
          next += rows.size();
        });
  } catch (const Error&) {
    say(seconds());
    throw;
  }
}

void CaptionFiles::take(std::span<const PictureInput> inputs, std::span<PictureRow> rows) {
  const double begun = seconds();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].error) {
      fail(*rows[i].error);
    } else {
      write(inputs[i], rows[i].lines);
    }
  }
  writing_ += seconds() - begun;
}

void CaptionFiles::write(const PictureInput& picture, const std::vector<std::string>& captions) {
  try {
    ++(store_->write(picture, captions) ? captioned_ : skipped_);
    unwritten_ = 0;
  } catch (const Error& e) {
    if (e.code() == ErrorCode::io && ++unwritten_ == kHopeless) throw;
    fail(e);
  }
}

void CaptionFiles::fail(const Error& error) {
  std::fprintf(stderr, "blip: %s\n", printable(error.what()).c_str());
  ++failed_;
  last_status_ = exit_status(error.code());
}

int CaptionFiles::finish() {
  store_->finish();
  say(seconds());
  if (failed_ == 0) return 0;
  return captioned_ + skipped_ + failed_ == 1 ? last_status_ : 1;
}

void CaptionFiles::say(double seconds) const {
  const double per_second = static_cast<double>(captioned_) / seconds;
  const double model = stages_.vision + text_;
  if (format_ != Format::text) {
    const Json json = {{"captioned", captioned_},
                       {"skipped", skipped_},
                       {"failed", failed_},
                       {"pictures_per_second", per_second},
                       {"seconds",
                        {{"all", seconds},
                         {"model", model},
                         {"waiting", stages_.wait},
                         {"writing", writing_},
                         {"decode", stages_.decode},
                         {"preprocess", stages_.preprocess}}}};
    std::printf("%s\n", dump(json).c_str());
    return;
  }
  std::printf("%zu captioned, %zu left as they were, %zu failed", captioned_, skipped_, failed_);
  if (captioned_ > 0)
    std::printf("; %.2f pictures per second, the model at work %.0f %% of the time", per_second,
                100 * model / seconds);
  std::printf("\n");
}

}  // namespace blip::cli
