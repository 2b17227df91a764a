#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "apps/cli/eval_run.h"
#include "blip/base/tensor.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/tasks/features.h"
#include "blip/tasks/matching.h"

namespace blip::cli {

/// The pictures' captions as one list, cleaned as the authors do.
struct RetrievalTexts {
  std::vector<std::string> texts;
  std::vector<std::vector<std::size_t>> of_image;
  std::vector<std::size_t> image_of;

  RetrievalTexts(const std::vector<CaptionedImage>& images, std::size_t max_words);
};

/// How well pictures and texts fit; `kNotScored` for pairs that only the first stage saw.
struct RetrievalScores {
  Tensor i2t;  ///< [images, texts]
  Tensor t2i;  ///< [texts, images]
};
inline constexpr float kNotScored = -100;

struct TwoStageOptions {
  std::size_t k = 256;
  std::size_t max_words = 30;
  std::string split;
  FirstToken itm_token = FirstToken::enc;
};

/// The authors' evaluation of retrieval (paper section 5.1): all pairs by ITC; of the best k of
/// each picture and of each text the score is ITM's logit of "match" plus ITC's similarity. A pair
/// is judged once for both ways.
class TwoStage {
 public:
  /// Refers to its arguments.
  TwoStage(const EvalFlags& flags, const TwoStageOptions& options,
           const std::vector<CaptionedImage>& images, const RetrievalTexts& texts);

  /// Pictures that cannot be read are reported and have no scores.
  /// Throws Error{usage} for a caption without words, Error{cancelled}, and what the model throws.
  RetrievalScores scores();

  /// Deletes the journal, unless pictures failed. Returns whether none did.
  bool finish();

 private:
  using Features = std::vector<std::vector<float>>;  ///< of each picture; empty when it failed

  Features image_features();
  void compare_all(Features features);
  void choose();
  void judge_chosen();
  Json judge(std::size_t image);
  void learn(const Json& row);
  RetrievalScores combine() const;

  const TwoStageOptions& options_;
  const std::vector<CaptionedImage>& images_;
  const RetrievalTexts& texts_;
  std::size_t batch_size_;
  Matcher matcher_;
  FeatureExtractor extractor_;
  EvalRun run_;
  std::vector<MatchText> match_texts_;
  std::vector<std::unique_ptr<EncodedImage>> kept_;  ///< for the second stage
  std::size_t kept_bytes_ = 0;
  Tensor sims_;                                                 ///< [images, texts]
  std::vector<std::vector<std::size_t>> best_texts_;            ///< of each picture
  std::vector<std::vector<std::size_t>> best_images_;           ///< of each text
  std::vector<std::vector<std::size_t>> wanted_;                ///< of each picture: texts to judge
  std::vector<std::unordered_map<std::size_t, float>> logits_;  ///< of each picture, by text
};

}  // namespace blip::cli
