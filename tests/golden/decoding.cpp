#include "tests/golden/decoding.h"

#include <algorithm>

#include "blip/base/error.h"
#include "blip/generation/generation_json.h"

namespace blip::golden {

GenerationConfig generation_config(const Json& params, GenerationConfig defaults) {
  for (const auto& [key, value] : params.items()) {
    bool known = false;
    for_each_field(defaults, [&, &key = key](const char* name, const auto&, const char*) {
      known = known || key == name;
    });
    if (known) continue;
    if (key == "bad_words_ids") {
      if (!value.is_null()) defaults.bad_words_ids = value.get<std::vector<std::vector<int>>>();
    } else if (key == "forced_prefix_ids") {
      if (!value.is_null()) defaults.forced_prefix_ids = value.get<std::vector<int>>();
    } else {
      throw Error(ErrorCode::unsupported, "the parameter " + in_quotes(key) + " is not known");
    }
  }
  update_from_json(defaults, params);
  return defaults;
}

std::vector<Hypothesis> decode(const TextDecoder& decoder, const Tensor& states,
                               const GenerationRequest& request,
                               const std::function<void(std::span<const StepRow>)>& observe) {
  const CrossKeysValues keys_values =
      decoder.attend_to(states.span(), static_cast<std::size_t>(states.dim(0)), {});
  DecoderState state(decoder.config());
  const StepFunction step = [&](std::span<const StepRow> rows, std::span<float> logits) {
    if (observe) observe(rows);
    std::vector<DecoderRow> decoder_rows;
    for (const StepRow& row : rows) decoder_rows.push_back({row.parent, row.tokens, &keys_values});
    decoder.step(state, decoder_rows, logits, {});
  };
  return generate({&request, 1}, decoder.config().vocab_size, step).at(0);
}

std::vector<int> decoder_prompt(const TextConfig& config, const Json& ids) {
  std::vector<int> prompt = {config.bos_token_id};
  if (ids.is_null()) return prompt;
  const auto all = ids.get<std::vector<int>>();
  if (all.size() < 2) throw Error(ErrorCode::bad_model, "a prompt without [CLS] and [SEP]");
  prompt.insert(prompt.end(), all.begin() + 1, all.end() - 1);
  return prompt;
}

Tensor question_states(const BlipModel& model, const Tensor& image_embeds,
                       std::span<const int> question) {
  const TextEncoder& encoder = model.text_encoder();
  const CrossKeysValues image =
      encoder.attend_to(image_embeds.span(), static_cast<std::size_t>(image_embeds.dim(0)), {});
  const EncoderText text{question, &image};
  return encoder.forward({&text, 1}, {});
}

std::vector<int> without_padding(const std::vector<int>& ids, std::size_t prompt_length,
                                 int sep_id) {
  if (ids.size() < prompt_length) throw Error(ErrorCode::bad_model, "ids shorter than the prompt");
  const auto end =
      std::find(ids.begin() + static_cast<std::ptrdiff_t>(prompt_length), ids.end(), sep_id);
  return {ids.begin(), end == ids.end() ? end : end + 1};
}

}  // namespace blip::golden
