#include "blip/tasks/text_generation.h"

#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

void check_positions(const GenerationRequest& request, const TextConfig& config) {
  const int longest = max_sequence_length(request);
  // The last token is never fed back, so it needs no position.
  if (longest - 1 > config.max_position_embeddings) {
    throw Error(ErrorCode::usage, "the options allow " + std::to_string(longest) +
                                      " tokens in all, but the model has " +
                                      std::to_string(config.max_position_embeddings) +
                                      " positions");
  }
}

}  // namespace

void validate_generation(const GenerationRequest& request, const TextConfig& config) {
  check_positions(request, config);
  make_search(request, config.vocab_size);
}

std::size_t TextBatch::add(const GenerationRequest& request, const CrossKeysValues& source) {
  check_positions(request, decoder_.config());
  const std::size_t id = batch_.add(request);
  sources_[id] = &source;
  return id;
}

void TextBatch::remove(std::size_t id) {
  batch_.remove(id);
  sources_.erase(id);
}

void TextBatch::step(const Context& context) {
  const StepFunction decode = [&](std::span<const StepRow> rows, std::span<float> logits) {
    rows_.clear();
    for (const StepRow& row : rows) {
      rows_.push_back({row.parent, row.tokens, sources_.at(static_cast<std::size_t>(row.request))});
    }
    decoder_.step(state_, rows_, logits, context);
  };
  batch_.step(decode, context);
}

std::vector<Hypothesis> TextBatch::take_results(std::size_t id) {
  sources_.erase(id);
  return batch_.take_results(id);
}

std::vector<std::vector<Hypothesis>> generate_texts(const TextDecoder& decoder,
                                                    std::span<const GenerationRequest> requests,
                                                    std::span<const CrossKeysValues* const> sources,
                                                    const Context& context) {
  TextBatch batch(decoder);
  for (std::size_t i = 0; i < requests.size(); ++i) batch.add(requests[i], *sources[i]);
  while (!batch.generation().idle()) batch.step(context);
  std::vector<std::vector<Hypothesis>> results;
  for (std::size_t i = 0; i < requests.size(); ++i) results.push_back(batch.take_results(i));
  return results;
}

std::vector<CaptionToken> tokens_of(const Hypothesis& hypothesis, const Tokenizer& tokenizer) {
  const auto prompt_length = static_cast<std::size_t>(hypothesis.prompt_length);
  std::vector<CaptionToken> tokens;
  for (std::size_t i = prompt_length; i < hypothesis.ids.size(); ++i) {
    const int id = hypothesis.ids[i];
    tokens.push_back(
        {id, std::string(tokenizer.token(id)), hypothesis.token_logprobs[i - prompt_length]});
  }
  return tokens;
}

}  // namespace blip
