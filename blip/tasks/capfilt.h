#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/image/image.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/matching.h"

namespace blip {

/// Settings of CapFilt (paper section 4).
struct CapFiltOptions {
  /// The captioner's; num_return_sequences texts are written for each picture, by nucleus sampling
  /// as the paper chose, and generation.seed is the seed of all records.
  CaptionOptions writing;
  std::string prompt;                   ///< the captioner's
  bool captioner = true;                ///< off: no synthetic texts
  bool filter = true;                   ///< off: every text is kept
  double itm_threshold = 0.5;           ///< a text below this probability is dropped
  std::optional<double> itc_threshold;  ///< and one below this cosine
  MatchOptions matching;
};

/// The authors' nucleus sampling: p = 0.9, 5 to 20 tokens, repetition penalty 1.1.
CaptionOptions nucleus_caption_options();
/// How texts begin unless one says otherwise: "a picture of " for an authors' checkpoint, which
/// learnt it; else not at all.
std::string capfilt_prompt(const Engine& captioner);

/// A picture as the models see it: small, made on any thread, encoded when its turn comes.
struct CapFiltPicture {
  std::vector<float> captioner_pixels;  ///< pixel_values [3, S, S]
  std::vector<float> filter_pixels;     ///< empty where the filter takes the captioner's
  EncodedImage captioner_image, filter_image;
};

/// What the filter thinks of a text.
struct CapFiltScores {
  std::optional<double> itm;  ///< probability of a match
  std::optional<double> itc;  ///< cosine
  bool truncated = false;     ///< only the beginning of the text was read
};

/// The models, as the recipe sees them; tests script them.
struct CapFiltModel {
  std::function<CapFiltPicture(const Image&)> prepare;
  std::function<void(std::span<CapFiltPicture* const>, const Context&)> encode;
  /// Texts of each picture, with options of its own.
  std::function<std::vector<std::vector<std::string>>(
      std::span<const CapFiltPicture* const>, std::span<const CaptionOptions>, const Context&)>
      write;
  /// Scores of texts that all have words.
  std::function<std::vector<CapFiltScores>(const CapFiltPicture&, std::span<const std::string>,
                                           const Context&)>
      judge;
  /// Whether the filter reads anything in a text.
  std::function<bool(const std::string&)> has_words;
};

/// `captioner` and `filter` may be one engine, or absent as the options say; a picture is encoded
/// once by each, and once in all when they are one. Throws Error{unsupported} for a checkpoint that
/// lacks what its part takes, Error{usage} for options that cannot be run.
CapFiltModel capfilt_model(const std::optional<Engine>& captioner,
                           const std::optional<Engine>& filter, const CapFiltOptions& options);

/// A picture with the texts that came with it.
struct CapFiltInput {
  std::string key;  ///< names it among all records; its draws depend on this and the seed alone
  std::vector<std::string> texts;
  bool human = false;  ///< people wrote the texts for the picture: they are kept as they are
  std::optional<Error> error;  ///< why there is no picture
  CapFiltPicture picture;      ///< not looked at with `human` or `error`
};

enum class TextOrigin { web, synthetic };
enum class CapFiltVerdict { kept, dropped, failed };

/// "web", "synthetic"; "kept", "dropped", "failed".
std::string_view name(TextOrigin origin) noexcept;
std::string_view name(CapFiltVerdict verdict) noexcept;

/// A text, and what became of it.
struct CapFiltText {
  std::string text;
  TextOrigin origin = TextOrigin::web;
  CapFiltScores scores;
  bool kept = false;
  std::string reason;  ///< of dropping it: "itm", "itc", "no words", "repeated"
};

/// What became of a record. It is dropped when none of its texts is kept.
struct CapFiltRecord {
  std::string key;
  bool human = false;
  std::vector<CapFiltText> texts;  ///< those that came, then the synthetic ones
  std::optional<Error> error;      ///< failed: why

  CapFiltVerdict verdict() const;
  std::vector<std::string> kept_texts() const;
};

/// Captions and filters web data (CapFilt): synthetic texts are written for each picture, and of
/// these and those that came with it the ones that do not match are dropped. Immutable.
class CapFilter {
 public:
  CapFilter(CapFiltModel model, CapFiltOptions options);

  /// What run() takes. Throws Error{bad_image}.
  CapFiltPicture prepare(const Image& image) const { return model_.prepare(image); }

  /// One record for each input, in order. A record does not depend on its neighbours.
  /// Throws Error{cancelled}.
  std::vector<CapFiltRecord> run(std::span<CapFiltInput> inputs, const Context& context = {}) const;

  const CapFiltOptions& options() const { return options_; }

 private:
  void write(std::span<CapFiltInput> inputs, std::span<CapFiltRecord> records,
             const Context& context) const;
  void judge(const CapFiltPicture& picture, CapFiltRecord& record, const Context& context) const;
  std::string reason_against(const CapFiltScores& scores) const;

  CapFiltModel model_;
  CapFiltOptions options_;
};

}  // namespace blip
