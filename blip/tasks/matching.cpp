#include "blip/tasks/matching.h"

#include <cmath>
#include <utility>

#include "blip/base/error.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/text_input.h"

namespace blip {
namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

std::vector<MatchText> Matcher::encode(std::span<const std::string> texts,
                                       const MatchOptions& options, const Context& context) const {
  const BlipModel& model = engine_.model();
  if (options.itm) model.require_itm_head();
  if (options.itc) model.require_itc_heads();
  std::vector<MatchText> ready;
  std::vector<EncodedText> alone;
  for (const std::string& text : texts) {
    alone.push_back(encode_text(engine_, text, "text", FirstToken::cls, options.max_length));
    MatchText& made = ready.emplace_back();
    made.truncated = alone.back().truncated;
    if (options.itm) {
      made.itm_ids = encode_text(engine_, text, "text", options.itm_token, options.max_length).ids;
    }
  }
  if (!options.itc) return ready;
  std::vector<EncoderText> inputs;
  for (const EncodedText& text : alone) inputs.push_back({text.ids});
  encode_each(model.text_encoder(), inputs, Batching::fast, context,
              [&](std::size_t i, std::span<const float> hidden) {
                ready[i].text_feat = model.text_feat(hidden);
              });
  return ready;
}

std::vector<Match> Matcher::match(const EncodedImage& image, std::span<const MatchText> texts,
                                  const Context& context) const {
  const BlipModel& model = engine_.model();
  const EncodedImage::Data& picture = data_of(image, engine_);
  std::vector<Match> matches(texts.size());
  std::vector<EncoderText> inputs;
  std::vector<std::size_t> text_of_input;
  std::vector<float> image_feat;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].itm_ids.empty()) {
      inputs.push_back({texts[i].itm_ids, &picture.for_encoder(context)});
      text_of_input.push_back(i);
    }
    if (texts[i].text_feat.empty()) continue;
    if (image_feat.empty()) image_feat = model.image_feat(image.image_embeds());
    if (texts[i].text_feat.size() != image_feat.size())
      throw Error(ErrorCode::usage, "a text must be encoded by the matcher itself");
    matches[i].itc_similarity = dot(image_feat, texts[i].text_feat);
  }
  encode_each(model.text_encoder(), inputs, Batching::fast, context,
              [&](std::size_t input, std::span<const float> hidden) {
                Match& match = matches[text_of_input[input]];
                match.itm_logits = model.itm_logits(hidden);
                const auto [no, yes] = match.itm_logits;
                match.itm_probability = 1 / (1 + std::exp(double{no} - double{yes}));
              });
  return matches;
}

}  // namespace blip
