#include "blip/tasks/features.h"

#include "blip/base/error.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/text_input.h"

namespace blip {
namespace {

void append(Features& features, std::span<const float> values, bool truncated) {
  features.width = values.size();
  features.values.insert(features.values.end(), values.begin(), values.end());
  features.truncated.push_back(truncated);
}

/// The vector of a text whose last hidden states are `hidden`.
std::vector<float> text_vector(const BlipModel& model, std::span<const float> hidden,
                               FeatureKind kind) {
  if (kind == FeatureKind::normalised) return model.text_feat(hidden);
  if (kind == FeatureKind::projected) return model.text_projection(hidden);
  const auto width = static_cast<std::size_t>(model.config().text.hidden_size);
  return {hidden.begin(), hidden.begin() + static_cast<std::ptrdiff_t>(width)};
}

Features encode_texts(const Engine& engine, const CrossKeysValues* image,
                      std::span<const std::string> texts, const FeatureOptions& options,
                      const Context& context) {
  const BlipModel& model = engine.model();
  const bool dual = model.config().architecture == Architecture::dual_encoder;
  const FirstToken first = image != nullptr && !dual ? FirstToken::enc : FirstToken::cls;
  std::vector<EncodedText> encoded;
  for (const std::string& text : texts)
    encoded.push_back(encode_text(engine, text, "text", first, options.max_length));
  std::vector<EncoderText> inputs;
  for (const EncodedText& text : encoded) inputs.push_back({text.ids, image});
  Features features;
  encode_each(model.text_encoder(), inputs, Batching::fast, context,
              [&](std::size_t i, std::span<const float> hidden) {
                append(features, text_vector(model, hidden, options.kind), encoded[i].truncated);
              });
  return features;
}

}  // namespace

bool FeatureExtractor::projects() const {
  return engine_.model().has_itc_heads();
}

bool FeatureExtractor::projects_pairs() const {
  return engine_.model().config().architecture == Architecture::dual_encoder;
}

Features FeatureExtractor::image_features(std::span<const EncodedImage> images, FeatureKind kind,
                                          const Context& context) const {
  const BlipModel& model = engine_.model();
  if (kind != FeatureKind::raw) model.require_itc_heads();
  const auto width = static_cast<std::size_t>(model.config().vision.hidden_size);
  Features features;
  for (const EncodedImage& image : images) {
    context.check_stop();
    const std::span<const float> embeds = data_of(image, engine_).image_embeds.span();
    if (kind == FeatureKind::raw) {
      append(features, embeds.first(width), false);
    } else {
      append(features,
             kind == FeatureKind::projected ? model.image_projection(embeds)
                                            : model.image_feat(embeds),
             false);
    }
  }
  return features;
}

Features FeatureExtractor::text_features(std::span<const std::string> texts,
                                         const FeatureOptions& options,
                                         const Context& context) const {
  if (options.kind != FeatureKind::raw) engine_.model().require_itc_heads();
  return encode_texts(engine_, nullptr, texts, options, context);
}

Features FeatureExtractor::multimodal_features(const EncodedImage& image,
                                               std::span<const std::string> texts,
                                               const FeatureOptions& options,
                                               const Context& context) const {
  if (options.kind != FeatureKind::raw && !projects_pairs()) {
    throw Error(ErrorCode::unsupported,
                "multimodal features of this checkpoint have no projection; ask for raw ones");
  }
  return encode_texts(engine_, &data_of(image, engine_).for_encoder(context), texts, options,
                      context);
}

}  // namespace blip
