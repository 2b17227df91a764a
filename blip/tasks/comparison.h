#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/tasks/captioning.h"

namespace blip {

/// How two engines differ over one picture.
struct PictureComparison {
  double cosine = 1;        ///< of image_embeds, mean over the picture's tokens
  double least_cosine = 1;  ///< of the token that differs most
  /// Kullback-Leibler divergence of the candidate's next-token distribution from the reference's,
  /// nats, mean and largest over the tokens that the reference wrote.
  double divergence = 0;
  double largest_divergence = 0;
  std::string wanted;  ///< the reference's caption
  std::string text;    ///< the candidate's
};

/// Over many pictures: means, and the worst of each.
struct ComparisonSummary {
  std::size_t pictures = 0;
  double cosine = 1;
  double least_cosine = 1;
  double divergence = 0;
  double largest_divergence = 0;
  double identical = 1;  ///< share of captions that are the same

  /// The accuracy gate of docs/numerics.md: whether the candidate may stand in for the reference.
  /// Captions that differ are told but do not decide: where two words are as likely, the smallest
  /// change of the arithmetic chooses the other.
  bool passes() const;
  static constexpr double kLeastCosine = 0.999;
  static constexpr double kMostDivergence = 0.005;
};

ComparisonSummary summarise(const std::vector<PictureComparison>& pictures);

/// Compares an engine with a reference of the same model, such as one in f32. Where the checkpoint
/// has no captioner, only what the vision encoder gives is compared.
class EngineComparison {
 public:
  /// Throws Error{usage} for options that cannot be run.
  EngineComparison(Engine reference, Engine candidate, std::string prompt, CaptionOptions options);

  /// Whether captions are compared.
  bool captions() const { return !captioners_.empty(); }

  /// Throws Error{usage, cancelled}.
  PictureComparison compare(const Image& image, const Context& context = {}) const;

 private:
  void compare_texts(const EncodedImage& wanted, const EncodedImage& got, const Context& context,
                     PictureComparison& result) const;

  Engine reference_;
  Engine candidate_;
  std::string prompt_;
  CaptionOptions options_;
  std::vector<Captioner> captioners_;  ///< of the reference and of the candidate, or none
};

}  // namespace blip
