#pragma once

#include <functional>
#include <span>
#include <vector>

#include "blip/base/json.h"
#include "blip/generation/search.h"
#include "blip/model/blip.h"

namespace blip::golden {

/// The generation options of a case's "params" over `defaults`. Throws for a parameter that the
/// library does not have.
GenerationConfig generation_config(const Json& params, GenerationConfig defaults = {});

/// Runs one request whose decoder looks at `states` [tokens, width]. `observe` sees the rows of
/// every step when it is given.
std::vector<Hypothesis> decode(const TextDecoder& decoder, const Tensor& states,
                               const GenerationRequest& request,
                               const std::function<void(std::span<const StepRow>)>& observe = {});

/// [DEC], then a prompt's ids without [CLS] and [SEP]; `ids` is null for no prompt.
std::vector<int> decoder_prompt(const TextConfig& config, const Json& ids);

/// A question's states: what VQA's decoder looks at.
Tensor question_states(const BlipModel& model, const Tensor& image_embeds,
                       std::span<const int> question);

/// Ids of a returned sequence without the padding that fills a call's shorter sequences: nothing
/// after the first [SEP] behind the prompt.
std::vector<int> without_padding(const std::vector<int>& ids, std::size_t prompt_length,
                                 int sep_id);

}  // namespace blip::golden
