#include "blip/tasks/engine.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/idle_team.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/generation/generation_json.h"
#include "blip/image/image_processor.h"
#include "blip/model/blip.h"
#include "blip/model/parameters.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/open_tokenizer.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

/// The squash that the checkpoint asks for, or to `image_size` when one is given.
ImageProcessorConfig processor_config(const Checkpoint& checkpoint, int image_size) {
  ImageProcessorConfig config;
  config.height = config.width = checkpoint.config.vision.image_size;
  if (!checkpoint.preprocessor.is_null()) {
    config = ImageProcessorConfig::from_json(checkpoint.preprocessor);
  }
  if (image_size > 0) config.height = config.width = image_size;
  const int patch = checkpoint.config.vision.patch_size;
  if (config.height % patch != 0 || config.width % patch != 0) {
    throw Error(ErrorCode::usage, "an image size of " + std::to_string(config.width) + " x " +
                                      std::to_string(config.height) +
                                      " is no multiple of the model's patch of " +
                                      std::to_string(patch) + " pixels");
  }
  return config;
}

}  // namespace

struct Engine::Data {
  Checkpoint checkpoint;
  Tokenizer tokenizer;
  ImageProcessor image_processor;
  Precision precision;
  BlipModel model;
  GenerationConfig generation;

  Data(Checkpoint opened, const EngineOptions& options)
      : checkpoint(std::move(opened)),
        tokenizer(options.tokenizer.empty() ? open_tokenizer(checkpoint)
                                            : Tokenizer::from_folder(options.tokenizer)),
        image_processor(processor_config(checkpoint, options.image_size)),
        precision(choose_precision(checkpoint.tensors, options.precision)),
        model(checkpoint.config, Parameters(checkpoint.tensors, precision)) {
    if (!checkpoint.generation.is_null()) update_from_json(generation, checkpoint.generation);
  }
};

Engine Engine::load(const std::filesystem::path& model, const EngineOptions& options) {
  Checkpoint checkpoint = open_checkpoint(model, {.vision_heads = options.vision_heads});
  const PassingTeam threads({.num_threads = options.num_threads});
  return Engine(std::make_shared<const Data>(std::move(checkpoint), options));
}

std::vector<EncodedImage> Engine::encode(std::span<const Image> images,
                                         const Context& context) const {
  const ThreadScope threads(context);
  const ImageProcessorConfig& size = image_processor().config();
  const std::size_t values =
      3 * static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
  const std::size_t most = std::min(images.size(), pictures_at_once());
  FloatBuffer pixel_values(most * values);
  std::vector<EncodedImage> encoded;
  while (encoded.size() < images.size()) {
    const auto group =
        images.subspan(encoded.size(), std::min(most, images.size() - encoded.size()));
    std::vector<std::span<const float>> pictures;
    for (const Image& image : group) {
      float* to = pixel_values.data() + pictures.size() * values;
      image_processor().process(image, to);
      pictures.emplace_back(to, values);
    }
    std::ranges::move(encode_pixel_values(pictures, size.height, size.width, context),
                      std::back_inserter(encoded));
  }
  return encoded;
}

EncodedImage Engine::encode_pixel_values(std::span<const float> pixel_values, int height, int width,
                                         const Context& context) const {
  return encode_pixel_values({&pixel_values, 1}, height, width, context).front();
}

std::vector<EncodedImage> Engine::encode_pixel_values(
    std::span<const std::span<const float>> pictures, int height, int width,
    const Context& context) const {
  const ThreadScope threads(context);
  const std::size_t area = height > 0 && width > 0
                               ? static_cast<std::size_t>(height) * static_cast<std::size_t>(width)
                               : 0;
  std::vector<EncodedImage> encoded;
  std::vector<float*> image_embeds;
  for (const std::span<const float> pixel_values : pictures) {
    if (area == 0 || pixel_values.size() != 3 * area) {
      throw Error(ErrorCode::usage, "pixel_values of " + std::to_string(width) + " x " +
                                        std::to_string(height) +
                                        " pixels must hold 3 numbers for "
                                        "each, but hold " +
                                        std::to_string(pixel_values.size()));
    }
    const auto data = std::make_shared<EncodedImage::Data>(
        std::shared_ptr<const BlipModel>(data_, &data_->model), height, width);
    image_embeds.push_back(data->image_embeds.data());
    encoded.emplace_back().data_ = data;
  }
  model().vision().forward(pictures, height, width, image_embeds, context);
  return encoded;
}

std::size_t Engine::pictures_at_once() const {
  const ImageProcessorConfig& size = image_processor().config();
  return model().vision().pictures_at_once(size.height, size.width);
}

Precision Engine::precision() const {
  return data_->precision;
}
const GenerationConfig& Engine::default_generation() const {
  return data_->generation;
}
const BlipModel& Engine::model() const {
  return data_->model;
}
const Tokenizer& Engine::tokenizer() const {
  return data_->tokenizer;
}
const ImageProcessor& Engine::image_processor() const {
  return data_->image_processor;
}
const Checkpoint& Engine::checkpoint() const {
  return data_->checkpoint;
}

}  // namespace blip
