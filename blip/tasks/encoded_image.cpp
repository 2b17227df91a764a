#include "blip/tasks/encoded_image.h"

#include <utility>

#include "blip/base/error.h"

namespace blip {

EncodedImage::Data::Data(std::shared_ptr<const BlipModel> encoder, int height, int width)
    : model(std::move(encoder)),
      rows(height / model->config().vision.patch_size),
      columns(width / model->config().vision.patch_size),
      image_embeds(
          {model->vision().num_tokens(height, width), model->config().vision.hidden_size}) {}

const CrossKeysValues& EncodedImage::Data::for_decoder(const Context& context) const {
  const TextDecoder& decoder = model->text_decoder();
  return decoder_.get([&] {
    return decoder.attend_to(image_embeds.span(), static_cast<std::size_t>(image_embeds.dim(0)),
                             context);
  });
}

const CrossKeysValues& EncodedImage::Data::for_encoder(const Context& context) const {
  const TextEncoder& encoder = model->text_encoder();
  return encoder_.get([&] {
    return encoder.attend_to(image_embeds.span(), static_cast<std::size_t>(image_embeds.dim(0)),
                             context);
  });
}

const CrossKeysValues& EncodedImage::Data::for_nlvr(std::size_t branch,
                                                    const Context& context) const {
  const NlvrEncoder& encoder = model->nlvr_encoder();
  return nlvr_[branch].get([&] {
    return encoder.attend_to(static_cast<int>(branch), image_embeds.span(),
                             static_cast<std::size_t>(image_embeds.dim(0)), context);
  });
}

std::span<const float> EncodedImage::image_embeds() const {
  return data_->image_embeds.span();
}

int EncodedImage::num_tokens() const {
  return static_cast<int>(data_->image_embeds.dim(0));
}

const EncodedImage::Data& data_of(const EncodedImage& image, const Engine& engine) {
  if (image.data() == nullptr || image.data()->model.get() != &engine.model()) {
    throw Error(ErrorCode::usage, "a picture must be encoded by the engine of the task");
  }
  return *image.data();
}

}  // namespace blip
