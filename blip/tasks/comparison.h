#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/matching.h"
#include "blip/tasks/vqa.h"

namespace blip {

struct CrossKeysValues;

/// How two engines differ in what they write: a caption, or the answer to a question.
struct TextComparison {
  std::string question;  ///< empty: a caption
  std::string wanted;    ///< the reference's
  std::string text;      ///< the candidate's
  /// Kullback-Leibler divergence of the candidate's next-token distribution from the reference's,
  /// nats, mean and largest over the tokens that the reference wrote.
  double divergence = 0;
  double largest_divergence = 0;
};

/// By how much the scores of a picture and a text differ; none where there is no such head.
struct MatchComparison {
  /// Of the probability of a match if it were one half: near 0 and 1, where most are, nothing moves
  /// it.
  std::optional<double> itm;
  std::optional<double> itc;  ///< of the similarity
};

/// How two engines differ over one picture.
struct PictureComparison {
  double cosine = 1;                     ///< of image_embeds, mean over the picture's tokens
  double least_cosine = 1;               ///< of the token that differs most
  std::vector<TextComparison> texts;     ///< a caption, or answers to a few questions, or none
  std::vector<MatchComparison> matches;  ///< with a few sentences, and what was said of it; or none
};

/// Over many pictures: means, and the worst of each.
struct ComparisonSummary {
  struct Difference {
    double mean = 0;
    double largest = 0;
  };

  std::size_t pictures = 0;
  double cosine = 1;
  double least_cosine = 1;
  // Of what was compared.
  std::optional<Difference> divergence;
  double identical = 1;  ///< share of texts that are the same
  bool answers = false;  ///< the texts answer questions
  std::optional<Difference> itm;
  std::optional<Difference> itc;

  /// What the gate looked at: "vision only", or "vision, captions, matching" or the like.
  std::string measured() const;
  /// The accuracy gate of docs/numerics.md: whether the candidate may stand in for the reference.
  /// Captions that differ are told but do not decide: where two words are as likely, the smallest
  /// change of the arithmetic chooses the other.
  bool passes() const;
  static constexpr double kLeastCosine = 0.999;
  static constexpr double kMostDivergence = 0.005;
  static constexpr double kMostMatchChange = 0.01;  ///< of probabilities and of similarities
};

ComparisonSummary summarise(const std::vector<PictureComparison>& pictures);

/// Compares an engine with a reference of the same model, such as one in f32: what the vision
/// encoder gives, and what the checkpoint makes of it: captions, answers, matches. What it says of
/// two pictures (NLVR2) is not compared.
class EngineComparison {
 public:
  /// Throws Error{usage} for options that cannot be run.
  EngineComparison(Engine reference, Engine candidate, std::string prompt, CaptionOptions options);

  /// Whether captions are compared, and matches with texts.
  bool captions() const { return !captioners_.empty(); }
  bool matches() const { return matching_.itm || matching_.itc; }

  /// `said`: texts that describe the picture, to be matched with it, too.
  /// Throws Error{usage, cancelled}.
  PictureComparison compare(const Image& image, std::span<const std::string> said = {},
                            const Context& context = {}) const;

 private:
  /// A picture as each engine encodes it.
  struct Encoded {
    EncodedImage wanted;
    EncodedImage got;
  };
  /// Ids that were written, and what each engine's decoder looked at.
  struct Written {
    std::span<const int> ids;  ///< all: [DEC], the prompt, then `count` new ones
    std::size_t count;
    const CrossKeysValues& wanted;
    const CrossKeysValues& got;
  };
  void compare_captions(const Encoded& picture, const Context& context,
                        PictureComparison& result) const;
  void compare_answers(const Encoded& picture, const Context& context,
                       PictureComparison& result) const;
  void compare_along(const Written& written, const Context& context, TextComparison& result) const;
  void compare_matches(const Encoded& picture, std::span<const std::string> said,
                       const Context& context, PictureComparison& result) const;

  Engine reference_;
  Engine candidate_;
  std::string prompt_;
  CaptionOptions options_;
  MatchOptions matching_;
  // Of the reference and of the candidate, or none.
  std::vector<Captioner> captioners_;
  std::vector<QuestionAnswerer> answerers_;
};

}  // namespace blip
