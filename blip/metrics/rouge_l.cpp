#include "blip/metrics/rouge_l.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

/// At single spaces, so that an empty text is one empty word: the reference's rule.
std::vector<std::string_view> split_at_spaces(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t space = text.find(' ');
    words.push_back(text.substr(0, space));
    if (space == std::string_view::npos) return words;
    text.remove_prefix(space + 1);
  }
}

std::size_t longest_common_subsequence(std::span<const std::string_view> a,
                                       std::span<const std::string_view> b) {
  std::vector<std::size_t> lengths(b.size() + 1);  // of a's words so far and b's first j
  for (const std::string_view word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = lengths[j];
      lengths[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, lengths[j - 1]);
      diagonal = above;
    }
  }
  return lengths.back();
}

double score(const CaptionSample& sample) {
  if (sample.references.empty()) {
    throw Error(ErrorCode::usage, "a picture has no reference caption");
  }
  constexpr double kBetaSquared = 1.2 * 1.2;
  const std::vector<std::string_view> candidate = split_at_spaces(sample.candidate);
  double precision = 0;
  double recall = 0;
  for (const std::string& text : sample.references) {
    const std::vector<std::string_view> reference = split_at_spaces(text);
    const auto common = static_cast<double>(longest_common_subsequence(candidate, reference));
    precision = std::max(precision, common / static_cast<double>(candidate.size()));
    recall = std::max(recall, common / static_cast<double>(reference.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBetaSquared) * precision * recall / (recall + kBetaSquared * precision);
}

}  // namespace

CorpusScore rouge_l(std::span<const CaptionSample> samples) {
  CorpusScore scores;
  double sum = 0;
  for (const CaptionSample& sample : samples) {
    scores.each.push_back(score(sample));
    sum += scores.each.back();
  }
  if (!samples.empty()) scores.score = sum / static_cast<double>(samples.size());
  return scores;
}

}  // namespace blip
