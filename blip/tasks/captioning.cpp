#include "blip/tasks/captioning.h"

#include <algorithm>
#include <map>
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

std::string text_of(const Tokenizer& tokenizer, std::span<const int> ids, std::size_t prompt_length,
                    const CaptionOptions& options) {
  const DecodeOptions decoding{true, options.clean_up_tokenization_spaces};
  std::string text = tokenizer.decode(ids, decoding);
  if (!options.strip_prompt) return text;
  return without_prompt(std::move(text), tokenizer.decode(ids.first(prompt_length), decoding));
}

Caption to_caption(const Tokenizer& tokenizer, const Hypothesis& hypothesis,
                   const CaptionOptions& options) {
  Caption caption;
  caption.text = text_of(tokenizer, hypothesis.ids,
                         static_cast<std::size_t>(hypothesis.prompt_length), options);
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
                                                     const Context& context,
                                                     const WritingListener& listener) const {
  if (options.size() != requests.size()) {
    throw Error(ErrorCode::usage, "each of " + std::to_string(requests.size()) +
                                      " requests must have its options, but there are " +
                                      std::to_string(options.size()));
  }
  CaptionBatch batch(*this);
  for (std::size_t i = 0; i < requests.size(); ++i) batch.add(requests[i], options[i], context);
  std::vector<double> shares(requests.size());
  while (!batch.idle()) {
    batch.step(context);
    if (!listener) continue;
    for (std::size_t i = 0; i < shares.size(); ++i) shares[i] = batch.share_written(i);
    listener(shares);
  }
  std::vector<std::vector<Caption>> captions;
  for (std::size_t i = 0; i < requests.size(); ++i) captions.push_back(batch.take(i));
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

struct CaptionBatch::Data {
  struct Running {
    EncodedImage image;  ///< kept while the decoder looks at it
    CaptionOptions options;
  };

  explicit Data(Captioner c) : captioner(std::move(c)), batch(model().text_decoder()) {}

  const BlipModel& model() const { return captioner.engine().model(); }
  const Tokenizer& tokenizer() const { return captioner.engine().tokenizer(); }

  Captioner captioner;
  TextBatch batch;
  std::map<std::size_t, Running> running;
};

CaptionBatch::CaptionBatch(Captioner captioner)
    : data_(std::make_unique<Data>(std::move(captioner))) {}

CaptionBatch::~CaptionBatch() = default;

std::size_t CaptionBatch::add(const CaptionRequest& request, const CaptionOptions& options,
                              const Context& context) {
  const Captioner& captioner = data_->captioner;
  const CrossKeysValues& picture = data_of(request.image, captioner.engine()).for_decoder(context);
  const std::size_t id = data_->batch.add(captioner.request_for(request.prompt, options), picture);
  data_->running[id] = {request.image, options};
  return id;
}

void CaptionBatch::remove(std::size_t id) {
  data_->batch.remove(id);
  data_->running.erase(id);
}

void CaptionBatch::step(const Context& context) {
  data_->batch.step(context);
}

bool CaptionBatch::idle() const {
  return data_->batch.generation().idle();
}

bool CaptionBatch::done(std::size_t id) const {
  return data_->batch.generation().done(id);
}

std::string CaptionBatch::text_so_far(std::size_t id) const {
  const CaptionOptions& options = data_->running.at(id).options;
  return text_of(data_->tokenizer(), data_->batch.generation().leader(id),
                 data_->batch.generation().prompt_length(id), options);
}

double CaptionBatch::share_written(std::size_t id) const {
  const GenerationBatch& batch = data_->batch.generation();
  if (batch.done(id)) return 1;
  const auto prompt = static_cast<std::int64_t>(batch.prompt_length(id));
  const std::int64_t most = std::min(length_limit(data_->running.at(id).options.generation, prompt),
                                     static_cast<std::int64_t>(data_->captioner.most_tokens()));
  const auto written = static_cast<std::int64_t>(batch.leader(id).size()) - prompt;
  return static_cast<double>(written) / static_cast<double>(most - prompt);
}

std::vector<Caption> CaptionBatch::take(std::size_t id) {
  const Data::Running taken = std::move(data_->running.at(id));
  data_->running.erase(id);
  std::vector<Caption> captions;
  for (const Hypothesis& hypothesis : data_->batch.take_results(id))
    captions.push_back(to_caption(data_->tokenizer(), hypothesis, taken.options));
  return captions;
}

}  // namespace blip
