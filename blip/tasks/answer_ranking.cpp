#include "blip/tasks/answer_ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "blip/base/error.h"
#include "blip/generation/softmax.h"

namespace blip {
namespace {

/// Tokens of answers in one pass through the decoder; each has a row of logits.
constexpr std::size_t kTokensPerPass = 256;

}  // namespace

/// A distribution over the vocabulary.
class AnswerRanking::NextToken {
 public:
  explicit NextToken(std::span<const float> logits)
      : logits_(logits), normalizer_(log_normalizer(logits)) {
    if (std::isnan(normalizer_.log_sum))
      throw Error(ErrorCode::bad_model, "the model computed logits that are not finite numbers");
    double sum = 0;
    for (const float logit : logits) sum += double{logit};
    mean_ = sum / static_cast<double>(logits.size()) - double{normalizer_.max} -
            double{normalizer_.log_sum};
  }

  float logprob(int id) const {
    return normalizer_.log_prob(logits_[static_cast<std::size_t>(id)]);
  }
  /// Cross-entropy with the label smoothed over the vocabulary, as torch has it.
  double loss(int id, double label_smoothing) const {
    const double plain = -double{logprob(id)};
    return label_smoothing == 0 ? plain : plain + label_smoothing * (-mean_ - plain);
  }

 private:
  std::span<const float> logits_;
  LogNormalizer normalizer_;
  double mean_ = 0;  ///< of the log-probabilities
};

AnswerRanking::AnswerRanking(const TextDecoder& decoder, const Tokenizer& tokenizer,
                             const AnswerList& list, const RankOptions& options)
    : decoder_(decoder), tokenizer_(tokenizer), list_(list), options_(options) {
  if (options.top_k < 1) {
    throw Error(ErrorCode::usage,
                "top_k must be at least 1, but is " + std::to_string(options.top_k));
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    throw Error(ErrorCode::usage, "label_smoothing must be at least 0 and below 1, but is " +
                                      std::to_string(options.label_smoothing));
  }
  const auto known = [&](int id) { return id >= 0 && id < decoder.config().vocab_size; };
  for (const AnswerList::Entry& entry : list.entries) {
    if (entry.ids.empty() || !std::all_of(entry.ids.begin(), entry.ids.end(), known)) {
      throw Error(ErrorCode::usage, "the answer " + in_quotes(entry.text) +
                                        " must be made of tokens of the model's vocabulary");
    }
  }
}

std::vector<Answer> AnswerRanking::rank(const CrossKeysValues& question,
                                        const Context& context) const {
  const TextConfig& config = decoder_.config();
  const auto vocabulary = static_cast<std::size_t>(config.vocab_size);
  DecoderState state(config);
  FloatBuffer start_logits(vocabulary);
  const DecoderRow dec{-1, {&config.bos_token_id, 1}, &question};
  decoder_.step(state, {&dec, 1}, start_logits.span(), context);
  const NextToken start(start_logits.span());

  const std::vector<std::size_t> chosen = best_starts(start_logits.span());
  std::vector<Answer> answers;
  while (answers.size() < chosen.size()) {
    // All go on from [DEC], whose sequence stays the first one for the next pass.
    std::vector<DecoderRow> rows = {{0, {}, &question}};
    std::size_t tokens = 0;
    for (std::size_t i = answers.size(); i < chosen.size(); ++i) {
      const std::vector<int>& ids = list_.entries[chosen[i]].ids;
      if (tokens > 0 && tokens + ids.size() > kTokensPerPass) break;
      rows.push_back({0, ids, &question});
      tokens += ids.size();
    }
    FloatBuffer logits(tokens * vocabulary);
    decoder_.step_all_logits(state, rows, logits.span(), context);
    const float* of_answer = logits.data();
    for (std::size_t row = 1; row < rows.size(); ++row) {
      const std::size_t size = rows[row].tokens.size() * vocabulary;
      answers.push_back(score(list_.entries[chosen[answers.size()]], start, {of_answer, size}));
      of_answer += size;
    }
  }
  std::stable_sort(answers.begin(), answers.end(),
                   [](const Answer& a, const Answer& b) { return a.score > b.score; });
  return answers;
}

std::vector<std::size_t> AnswerRanking::best_starts(std::span<const float> logits) const {
  std::vector<std::size_t> entries(list_.entries.size());
  std::iota(entries.begin(), entries.end(), std::size_t{0});
  const auto logit = [&](std::size_t entry) {
    return logits[static_cast<std::size_t>(list_.entries[entry].ids.front())];
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](std::size_t a, std::size_t b) { return logit(a) > logit(b); });
  entries.resize(std::min(entries.size(), static_cast<std::size_t>(options_.top_k)));
  return entries;
}

Answer AnswerRanking::score(const AnswerList::Entry& entry, const NextToken& start,
                            std::span<const float> logits) const {
  const std::size_t vocabulary = logits.size() / entry.ids.size();
  Answer answer;
  answer.text = entry.text;
  answer.index = entry.index;
  append(answer, start, entry.ids.front());
  for (std::size_t t = 0; t < entry.ids.size(); ++t) {
    const bool last = t + 1 == entry.ids.size();
    append(answer, NextToken(logits.subspan(t * vocabulary, vocabulary)),
           last ? decoder_.config().sep_token_id : entry.ids[t + 1]);
  }
  double log_probability = 0;
  for (const CaptionToken& token : answer.tokens) log_probability += double{token.logprob};
  answer.probability = std::exp(log_probability);
  return answer;
}

void AnswerRanking::append(Answer& answer, const NextToken& next, int id) const {
  answer.tokens.push_back({id, std::string(tokenizer_.token(id)), next.logprob(id)});
  answer.score -= next.loss(id, options_.label_smoothing);
}

}  // namespace blip
