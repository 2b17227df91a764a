#include "blip/tasks/captioning.h"

#include <utility>

#include "blip/base/error.h"
#include "blip/model/blip.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/text_generation.h"
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
  caption.tokens = tokens_of(hypothesis, tokenizer);
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
  const Architecture architecture = engine_.model().config().architecture;
  engine_.model().text_decoder();
  if (architecture == Architecture::question_answering) {
    throw Error(
        ErrorCode::unsupported,
        "this checkpoint is made for question_answering: its decoder looks at questions, not "
        "at pictures");
  }
}

GenerationRequest Captioner::request_for(const std::string& prompt,
                                         const CaptionOptions& options) const {
  return {prompt_ids(engine_, prompt), options.generation,
          engine_.model().config().text.sep_token_id};
}

void Captioner::validate(const std::string& prompt, const CaptionOptions& options) const {
  validate_generation(request_for(prompt, options), engine_.model().config().text);
}

std::vector<std::vector<Caption>> Captioner::caption(std::span<const CaptionRequest> requests,
                                                     const CaptionOptions& options,
                                                     const Context& context) const {
  return caption(requests, std::vector<CaptionOptions>(requests.size(), options), context);
}

std::vector<std::vector<Caption>> Captioner::caption(std::span<const CaptionRequest> requests,
                                                     std::span<const CaptionOptions> options,
                                                     const Context& context) const {
  if (options.size() != requests.size()) {
    throw Error(ErrorCode::usage, "each of " + std::to_string(requests.size()) +
                                      " requests must have its options, but there are " +
                                      std::to_string(options.size()));
  }
  std::vector<GenerationRequest> generation;
  std::vector<const CrossKeysValues*> pictures;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    pictures.push_back(&data_of(requests[i].image, engine_).for_decoder(context));
    generation.push_back(request_for(requests[i].prompt, options[i]));
  }
  const std::vector<std::vector<Hypothesis>> found =
      generate_texts(engine_.model().text_decoder(), generation, pictures, context);
  std::vector<std::vector<Caption>> captions;
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::vector<Caption>& of_request = captions.emplace_back();
    for (const Hypothesis& hypothesis : found[i]) {
      of_request.push_back(to_caption(engine_.tokenizer(), hypothesis, options[i]));
    }
  }
  return captions;
}

std::size_t Captioner::prompt_tokens(const std::string& prompt) const {
  return prompt_ids(engine_, prompt).size();
}

std::size_t Captioner::most_tokens() const {
  // The last token is never fed back, so it needs no position.
  return static_cast<std::size_t>(engine_.model().config().text.max_position_embeddings) + 1;
}

Caption Captioner::caption(const Image& image, const std::string& prompt) const {
  const CaptionRequest request{engine_.encode({&image, 1}).front(), prompt};
  CaptionOptions options;
  options.generation = engine_.default_generation();
  return caption(std::span(&request, 1), options).front().front();
}

}  // namespace blip
