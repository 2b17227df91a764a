#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/first_token.h"

namespace blip {

struct MatchOptions {
  /// What to compute. A checkpoint of transformers' BlipModel has no ITM head.
  bool itm = true;
  bool itc = true;
  /// In front of a text that is matched (ITM). The authors' evaluation puts [ENC] there;
  /// transformers, and the authors' demonstration, leave [CLS].
  FirstToken itm_token = FirstToken::enc;
  /// Longer texts are cut to so many tokens, the first and [SEP] among them; 0: the model's
  /// positions. 35 is what the authors take.
  int max_length = 35;
};

/// A text made ready to be matched with pictures: once, for all of them.
struct MatchText {
  std::vector<int> itm_ids;      ///< empty without ITM
  std::vector<float> text_feat;  ///< of length 1; empty without ITC
  bool truncated = false;        ///< the text was cut
};

/// How well a picture and a text fit. What was not asked for is 0.
struct Match {
  double itm_probability = 0;         ///< of "match", after the image-grounded text encoder
  std::array<float, 2> itm_logits{};  ///< "no match", "match"
  double itc_similarity = 0;          ///< cosine of image_feat and text_feat, from -1 to 1
};

/// Image-text matching and contrast (ITM and ITC, paper section 3.2). Texts are computed in large
/// batches, whose size moves the last bits of a score; padding does not exist.
class BLIP_API Matcher {
 public:
  explicit Matcher(Engine engine) : engine_(std::move(engine)) {}

  /// Throws Error{unsupported} when the checkpoint lacks a head that the options ask for,
  /// Error{usage} for a text without words, Error{cancelled}.
  std::vector<MatchText> encode(std::span<const std::string> texts,
                                const MatchOptions& options = {},
                                const Context& context = {}) const;

  /// `image` with each of the texts. Its keys and values are projected once, by the first call.
  /// Throws Error{usage, cancelled}.
  std::vector<Match> match(const EncodedImage& image, std::span<const MatchText> texts,
                           const Context& context = {}) const;

  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
};

}  // namespace blip
