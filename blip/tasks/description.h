#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/description_options.h"
#include "blip/tasks/engine.h"

namespace blip {

/// Where a description stands.
enum class DescriptionStage {
  prompts,    ///< the first prompts of either recipe
  extending,  ///< classic: a short text
  round,      ///< classic: second and later rounds
  scoring,    ///< faithful: candidates are judged
};

/// "prompts", "extending", "round", "scoring".
BLIP_API std::string_view name(DescriptionStage stage) noexcept;

/// Writes the texts of one call to the model: captions of each request with its own options, as
/// Captioner::caption(). The listener may be empty, and need not be called.
using CaptionFunction = std::function<std::vector<std::vector<Caption>>(
    std::span<const CaptionRequest>, std::span<const CaptionOptions>, const Context&,
    const WritingListener&)>;

/// What a candidate's confidence is.
enum class ConfidenceKind {
  itm,         ///< probability of "match", by the image-grounded text encoder
  itc,         ///< cosine of the picture's and the text's feature, at least 0
  likelihood,  ///< of a generated token, geometric mean: exp of the mean log-probability
};

/// "itm", "itc", "likelihood".
BLIP_API std::string_view name(ConfidenceKind kind) noexcept;

/// Says how well texts fit the picture that it was made for.
struct Judge {
  ConfidenceKind kind = ConfidenceKind::likelihood;
  /// From 0 to 1, one for each text; empty: there is no judge.
  std::function<std::vector<double>(std::span<const std::string>, const Context&)> confidences;
};

/// By ITM where the checkpoint has its head, else by ITC, else none. `image` is encoded by
/// `engine`.
BLIP_API Judge judge_by(const Engine& engine, const EncodedImage& image);

/// The model, as recipes see it. A service puts its own scheduler in `caption`; tests script it.
struct DescriptionModel {
  CaptionFunction caption;
  std::function<std::size_t(const std::string&)> prompt_tokens;  ///< as in Captioner
  std::size_t most_tokens = 0;                                   ///< as in Captioner
  /// The model's own judge of a picture, used where a request has none; may be empty.
  std::function<Judge(const EncodedImage&)> judge;
};
BLIP_API DescriptionModel description_model(const Captioner& captioner);

/// What to describe.
struct DescriptionRequest {
  EncodedImage image;
  Judge judge;  ///< faithful: another model's; without, the model judges itself as well as it can
};

/// How far a description is.
struct DescriptionProgress {
  DescriptionStage stage = DescriptionStage::prompts;
  int round = 1;   ///< counted from 1
  int rounds = 1;  ///< that there may be
  std::size_t done = 0;
  std::size_t of = 0;       ///< prompts of the stage, or texts to judge
  std::string_view text;    ///< best so far; empty at first
  std::string_view prompt;  ///< that is written, as the recipe has it; of those at once the first
  double share = 0;         ///< of the stage, from 0 to 1
};

/// Called when a stage begins, whenever a prompt is done or a twentieth of a stage is written, and
/// when the stage has ended; where the model tells how far it is, also on the thread that writes.
using DescriptionListener = std::function<void(const DescriptionProgress&)>;

/// A prompt, and what became of it.
struct DescriptionPrompt {
  DescriptionStage stage = DescriptionStage::prompts;
  int round = 1;
  std::string prompt;              ///< as the model was given it
  std::vector<std::string> texts;  ///< cleaned, one for each sequence
  bool shortened = false;  ///< the text so far was cut at a word, so that there was room to go on
  bool skipped = false;    ///< it was too long even so, and was not run
};

/// faithful: one sentence of a description.
struct DescriptionSentence {
  std::string text;
  double confidence = 0;  ///< see Description::confidence
};

struct Description {
  std::string text;
  DescriptionRecipe recipe = DescriptionRecipe::classic;
  int rounds = 1;                              ///< that were run
  std::vector<DescriptionSentence> sentences;  ///< faithful: best first
  std::optional<ConfidenceKind> confidence;    ///< faithful: what the sentences' confidences are
  std::vector<DescriptionPrompt> prompts;      ///< all, in order
  bool length_limited = false;  ///< options asked for more tokens than the model has positions

  std::optional<std::string> unpolished;  ///< the text before it was polished
  std::string polish_error;               ///< why it was not, where that was tried

  /// Whether a prompt was shortened or skipped.
  BLIP_API bool prompt_shortened() const;
};

/// Long descriptions of a picture that is encoded once, by one of two recipes; the prompts of a
/// stage run as one batch. Immutable; safe to share between threads as far as the model is.
class BLIP_API Describer {
 public:
  /// Throws Error{unsupported} when the checkpoint cannot caption.
  explicit Describer(Engine engine) : Describer(description_model(Captioner(std::move(engine)))) {}
  explicit Describer(DescriptionModel model) : model_(std::move(model)) {}

  /// Throws Error{usage} for options that describe() would refuse.
  void validate(const DescriptionOptions& options) const;

  /// The same options and seed give the same description, whatever else the model does.
  /// Throws Error{usage, cancelled}.
  Description describe(const DescriptionRequest& request, const DescriptionOptions& options = {},
                       const DescriptionListener& listener = {}, const Context& context = {}) const;

 private:
  DescriptionModel model_;
};

/// Rewrites a text, such as a language model that the user runs; throws Error when it cannot.
using PolishFunction = std::function<std::string(const std::string& text)>;

/// Puts the polisher's text in place of the description's. Where it throws an Error (other than
/// cancelled, which is passed on), or returns what is no plain text of at most 16 KiB, the text
/// stays and polish_error says why. White space of any kind becomes one space.
BLIP_API void polish(Description& description, const PolishFunction& polisher);

}  // namespace blip
