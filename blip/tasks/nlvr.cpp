#include "blip/tasks/nlvr.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip/tasks/encoded_image.h"
#include "blip/tasks/text_input.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

constexpr std::size_t kStatementsPerPass = 32;

double probability_of_true(const std::array<float, 2>& logits) {
  return 1 / (1 + std::exp(double{logits[0]} - double{logits[1]}));
}

/// The statement about the pictures exchanged: the words "left" and "right" change places.
std::vector<int> mirrored(std::vector<int> ids, const Tokenizer& tokenizer) {
  const int left = tokenizer.id("left"), right = tokenizer.id("right");
  if (left < 0 || right < 0) return ids;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool whole_word = i + 1 == ids.size() || !tokenizer.token(ids[i + 1]).starts_with("##");
    if (!whole_word) continue;
    if (ids[i] == left) {
      ids[i] = right;
    } else if (ids[i] == right) {
      ids[i] = left;
    }
  }
  return ids;
}

std::vector<std::array<float, 2>> logits_of(const BlipModel& model, const EncodedImage::Data& left,
                                            const EncodedImage::Data& right,
                                            std::span<const std::vector<int>> statements,
                                            const Context& context) {
  const CrossKeysValues* const pair[2] = {&left.for_nlvr(0, context), &right.for_nlvr(1, context)};
  const auto width = static_cast<std::size_t>(model.config().text.hidden_size);
  std::vector<std::array<float, 2>> logits;
  while (logits.size() < statements.size()) {
    const std::size_t count = std::min(kStatementsPerPass, statements.size() - logits.size());
    const std::span<const std::vector<int>> part = statements.subspan(logits.size(), count);
    const Tensor hidden = model.nlvr_encoder().forward(part, pair, context);
    std::span<const float> rest = hidden.span();
    for (const std::vector<int>& statement : part) {
      logits.push_back(model.nlvr_logits(rest));
      rest = rest.subspan(statement.size() * width);
    }
  }
  return logits;
}

}  // namespace

VisualReasoner::VisualReasoner(Engine engine) : engine_(std::move(engine)) {
  engine_.model().nlvr_encoder();
}

std::vector<Verdict> VisualReasoner::judge(const EncodedImage& left, const EncodedImage& right,
                                           std::span<const std::string> statements,
                                           const NlvrOptions& options,
                                           const Context& context) const {
  const EncodedImage::Data& first = data_of(left, engine_);
  const EncodedImage::Data& second = data_of(right, engine_);
  std::vector<Verdict> verdicts;
  std::vector<std::vector<int>> ids;
  for (const std::string& statement : statements) {
    EncodedText encoded =
        encode_text(engine_, statement, "statement", options.first_token, options.max_length);
    verdicts.emplace_back().truncated = encoded.truncated;
    ids.push_back(std::move(encoded.ids));
  }
  const auto logits = logits_of(engine_.model(), first, second, ids, context);
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    verdicts[i].logits = logits[i];
    verdicts[i].probability = probability_of_true(logits[i]);
  }
  if (!options.both_orders) return verdicts;
  for (std::vector<int>& statement : ids)
    statement = mirrored(std::move(statement), engine_.tokenizer());
  const auto exchanged = logits_of(engine_.model(), second, first, ids, context);
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    verdicts[i].probability = (verdicts[i].probability + probability_of_true(exchanged[i])) / 2;
  }
  return verdicts;
}

}  // namespace blip
