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

std::vector<std::vector<Hypothesis>> generate_texts(const TextDecoder& decoder,
                                                    std::span<const GenerationRequest> requests,
                                                    std::span<const CrossKeysValues* const> sources,
                                                    const Context& context) {
  for (const GenerationRequest& request : requests) check_positions(request, decoder.config());
  DecoderState state(decoder.config());
  const StepFunction step = [&](std::span<const StepRow> rows, std::span<float> logits) {
    std::vector<DecoderRow> decoder_rows;
    for (const StepRow& row : rows) {
      decoder_rows.push_back(
          {row.parent, row.tokens, sources[static_cast<std::size_t>(row.request)]});
    }
    decoder.step(state, decoder_rows, logits, context);
  };
  return generate(requests, decoder.config().vocab_size, step, context);
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
