#pragma once

#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/matching.h"

namespace blip {

struct ClassificationOptions {
  /// Texts that a label is put into, at "{}"; a label's score is over all of them.
  std::vector<std::string> templates = {"a photo of a {}"};
  /// By ITM, one pass for every label and template, instead of by ITC.
  bool itm = false;
  /// What similarities are divided by before the softmax of ITC; 0: the checkpoint's, else 0.07,
  /// which is where training starts.
  double temperature = 0;
  FirstToken itm_token = FirstToken::enc;  ///< see MatchOptions
  int max_length = 35;                     ///< tokens that longer texts are cut to
};

/// How well a label fits a picture.
struct LabelScore {
  std::size_t label = 0;   ///< index among those given
  double probability = 0;  ///< of the label among all
  double score = 0;        ///< ITC: cosine; ITM: log-odds of "match"; each over the templates
};

/// Zero-shot classification: which of a list of labels fits a picture. ITC compares the picture
/// with the mean of a label's text features, scaled to length 1 again; ITM takes the mean of the
/// log-odds. Immutable; safe to share between threads.
class BLIP_API Classifier {
 public:
  /// Throws Error{usage} for no labels or templates, a template without "{}", or a text without
  /// words; Error{unsupported} when the checkpoint lacks the head; Error{cancelled}.
  Classifier(Engine engine, std::span<const std::string> labels,
             const ClassificationOptions& options = {}, const Context& context = {});

  /// Every label, the likeliest first. Throws Error{cancelled}.
  std::vector<LabelScore> classify(const EncodedImage& image, const Context& context = {}) const;

  const Engine& engine() const { return matcher_.engine(); }

 private:
  Matcher matcher_;
  std::size_t labels_;  // how many
  double temperature_;
  std::vector<MatchText> texts_;  // ITM: labels x templates; ITC: for each label the mean
};

}  // namespace blip
