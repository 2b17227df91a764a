#include "blip/tasks/captioning.h"

#include <mutex>
#include <utility>

#include "blip/base/error.h"
#include "blip/generation/search.h"
#include "blip/model/blip.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

/// [DEC] in place of [CLS], the text's ids, and no [SEP]: what transformers and the authors feed.
std::vector<int> prompt_ids(const Engine& engine, const std::string& prompt) {
  std::vector<int> ids = {engine.model().config().text.bos_token_id};
  const std::vector<int> text = engine.tokenizer().encode_plain(prompt);
  ids.insert(ids.end(), text.begin(), text.end());
  return ids;
}

/// `text` without the prompt's text before it.
std::string without_prompt(std::string text, const std::string& prompt) {
  if (text.starts_with(prompt)) text.erase(0, prompt.size());
  text.erase(0, text.find_first_not_of(' '));
  return text;
}

Caption to_caption(const Tokenizer& tokenizer, const Hypothesis& hypothesis,
                   const CaptionOptions& options) {
  const DecodeOptions decoding{true, options.clean_up_tokenization_spaces};
  const auto prompt_length = static_cast<std::size_t>(hypothesis.prompt_length);
  Caption caption;
  caption.text = tokenizer.decode(hypothesis.ids, decoding);
  if (options.strip_prompt) {
    caption.text =
        without_prompt(std::move(caption.text),
                       tokenizer.decode(std::span(hypothesis.ids).first(prompt_length), decoding));
  }
  for (std::size_t i = prompt_length; i < hypothesis.ids.size(); ++i) {
    const int id = hypothesis.ids[i];
    caption.tokens.push_back(
        {id, std::string(tokenizer.token(id)), hypothesis.token_logprobs[i - prompt_length]});
  }
  caption.ids = hypothesis.ids;
  caption.score = hypothesis.score;
  caption.finished = hypothesis.finished;
  return caption;
}

}  // namespace

CaptionOptions paper_caption_options() {
  CaptionOptions options;
  options.generation.num_beams = 3;
  options.generation.max_length = 20;
  options.generation.min_length = 5;
  options.generation.semantics = BeamSemantics::authors;
  options.strip_prompt = true;
  options.clean_up_tokenization_spaces = true;
  return options;
}

Captioner::Captioner(Engine engine) : engine_(std::move(engine)) {
  engine_.model().text_decoder();
}

GenerationRequest Captioner::request_for(const std::string& prompt,
                                         const CaptionOptions& options) const {
  const TextConfig& text = engine_.model().config().text;
  GenerationRequest request{prompt_ids(engine_, prompt), options.generation, text.sep_token_id};
  const int longest = max_sequence_length(request);
  // The last token is never fed back, so it needs no position.
  if (longest - 1 > text.max_position_embeddings) {
    throw Error(ErrorCode::usage, "the options allow " + std::to_string(longest) +
                                      " tokens in all, but the model has " +
                                      std::to_string(text.max_position_embeddings) + " positions");
  }
  return request;
}

void Captioner::validate(const std::string& prompt, const CaptionOptions& options) const {
  make_search(request_for(prompt, options), engine_.model().config().text.vocab_size);
}

std::vector<std::vector<Caption>> Captioner::caption(std::span<const CaptionRequest> requests,
                                                     const CaptionOptions& options,
                                                     const Context& context) const {
  const TextDecoder& decoder = engine_.model().text_decoder();
  const TextConfig& text = decoder.config();
  std::vector<GenerationRequest> generation;
  for (const CaptionRequest& request : requests) {
    if (!request.image.data_ || request.image.data_->engine != engine_.data_.get()) {
      throw Error(ErrorCode::usage, "a picture must be encoded by the captioner's own engine");
    }
    const EncodedImage::Data& image = *request.image.data_;
    std::call_once(image.projected, [&] {
      image.keys_values = decoder.attend_to(
          image.image_embeds.span(), static_cast<std::size_t>(image.image_embeds.dim(0)), context);
    });
    generation.push_back(request_for(request.prompt, options));
  }

  DecoderState state(text);
  const StepFunction step = [&](std::span<const StepRow> rows, std::span<float> logits) {
    std::vector<DecoderRow> decoder_rows;
    for (const StepRow& row : rows) {
      const CaptionRequest& request = requests[static_cast<std::size_t>(row.request)];
      decoder_rows.push_back({row.parent, row.tokens, &request.image.data_->keys_values});
    }
    decoder.step(state, decoder_rows, logits, context);
  };
  const std::vector<std::vector<Hypothesis>> found =
      generate(generation, text.vocab_size, step, context);

  std::vector<std::vector<Caption>> captions;
  for (const std::vector<Hypothesis>& hypotheses : found) {
    std::vector<Caption>& of_request = captions.emplace_back();
    for (const Hypothesis& hypothesis : hypotheses) {
      of_request.push_back(to_caption(engine_.tokenizer(), hypothesis, options));
    }
  }
  return captions;
}

Caption Captioner::caption(const Image& image, const std::string& prompt) const {
  const CaptionRequest request{engine_.encode({&image, 1}).front(), prompt};
  CaptionOptions options;
  options.generation = engine_.default_generation();
  return caption(std::span(&request, 1), options).front().front();
}

}  // namespace blip
