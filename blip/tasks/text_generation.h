#pragma once

#include <span>
#include <vector>

#include "blip/generation/search.h"
#include "blip/model/text_decoder.h"
#include "blip/tasks/captioning.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {

/// Throws Error{usage} for a request that cannot be run with this model: see make_search(); also a
/// length beyond its positions.
void validate_generation(const GenerationRequest& request, const TextConfig& config);

/// Runs all requests together; the i-th looks at `sources[i]`. What a request returns does not
/// depend on its neighbours. Throws Error{usage, cancelled}.
std::vector<std::vector<Hypothesis>> generate_texts(const TextDecoder& decoder,
                                                    std::span<const GenerationRequest> requests,
                                                    std::span<const CrossKeysValues* const> sources,
                                                    const Context& context);

/// The generated tokens, without the prompt.
std::vector<CaptionToken> tokens_of(const Hypothesis& hypothesis, const Tokenizer& tokenizer);

}  // namespace blip
