#include "blip/image/image_processor.h"

#include <cmath>
#include <limits>
#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr int kMaxSize = 4096;
constexpr double kMaxRescale = 1e30;  // keeps the products finite as f32

[[noreturn]] void reject(const std::string& key, const std::string& expected, const Json& value) {
  throw Error(ErrorCode::bad_model, "the image processor's " + key + " must be " + expected +
                                        ", not " + in_quotes(value.dump()));
}

/// The value of `key`, or nothing where it is absent or null: the default holds then.
const Json* find(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

void read_flag(const Json& json, const char* key, bool& flag) {
  const Json* value = find(json, key);
  if (value == nullptr) return;
  if (!value->is_boolean()) reject(key, "true or false", *value);
  flag = value->get<bool>();
}

int read_side(const Json& value) {
  if (!value.is_number_integer() || value < 1 || value > kMaxSize) {
    reject("size", "from 1 to " + std::to_string(kMaxSize), value);
  }
  return value.get<int>();
}

void read_size(const Json& json, ImageProcessorConfig& config) {
  const Json* size = find(json, "size");
  if (size == nullptr) return;
  if (size->is_object() && size->contains("height") && size->contains("width")) {
    config.height = read_side(size->at("height"));
    config.width = read_side(size->at("width"));
  } else if (size->is_object() &&
             (size->contains("shortest_edge") || size->contains("longest_edge"))) {
    throw Error(
        ErrorCode::unsupported,
        "an image processor that keeps the picture's proportions is not handled: its size is " +
            in_quotes(size->dump()));
  } else if (size->is_array() && size->size() == 2) {
    config.height = read_side(size->at(0));
    config.width = read_side(size->at(1));
  } else if (size->is_number()) {
    config.height = config.width = read_side(*size);
  } else {
    reject("size", R"({"height", "width"}, a number or [height, width])", *size);
  }
}

double read_number(const Json& value, const char* key, const char* expected) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (!(std::abs(number) <= std::numeric_limits<float>::max())) reject(key, expected, value);
  return number;
}

void read_channels(const Json& json, const char* key, std::array<double, 3>& channels) {
  const Json* value = find(json, key);
  if (value == nullptr) return;
  constexpr char kExpected[] = "a list of 3 numbers";
  if (!value->is_array() || value->size() != channels.size()) reject(key, kExpected, *value);
  for (std::size_t c = 0; c < channels.size(); ++c) {
    channels[c] = read_number(value->at(c), key, kExpected);
  }
}

void check_resample(const Json& json) {
  const Json* value = find(json, "resample");
  if (value == nullptr) return;
  constexpr int kBicubic = 3;  // PIL.Image.Resampling.BICUBIC
  if (!value->is_number_integer()) reject("resample", "an integer", *value);
  if (*value != kBicubic) {
    throw Error(ErrorCode::unsupported,
                "resampling filter " + value->dump() + " is not handled; only 3 (bicubic) is");
  }
}

float normalized(int value, std::size_t channel, const ImageProcessorConfig& config) {
  float result = static_cast<float>(value);
  if (config.do_rescale) result = static_cast<float>(value * config.rescale_factor);
  if (config.do_normalize) {
    result = (result - static_cast<float>(config.mean[channel])) /
             static_cast<float>(config.std[channel]);
  }
  return result;
}

}  // namespace

ImageProcessorConfig ImageProcessorConfig::from_json(const Json& json) {
  if (!json.is_object()) {
    throw Error(ErrorCode::bad_model, "an image processor's configuration must be a JSON object");
  }
  ImageProcessorConfig config;
  read_flag(json, "do_resize", config.do_resize);
  read_flag(json, "do_rescale", config.do_rescale);
  read_flag(json, "do_normalize", config.do_normalize);
  read_size(json, config);
  check_resample(json);
  if (const Json* factor = find(json, "rescale_factor")) {
    constexpr char kExpected[] = "a positive number";
    config.rescale_factor = read_number(*factor, "rescale_factor", kExpected);
    if (config.rescale_factor <= 0 || config.rescale_factor > kMaxRescale) {
      reject("rescale_factor", kExpected, *factor);
    }
  }
  read_channels(json, "image_mean", config.mean);
  read_channels(json, "image_std", config.std);
  for (const double deviation : config.std) {
    if (static_cast<float>(deviation) <= 0) reject("image_std", "positive", json.at("image_std"));
  }
  return config;
}

ImageProcessor::ImageProcessor(const ImageProcessorConfig& config) : config_(config) {
  for (std::size_t c = 0; c < lut_.size(); ++c) {
    for (int v = 0; v < 256; ++v) lut_[c][static_cast<std::size_t>(v)] = normalized(v, c, config);
  }
}

void ImageProcessor::process(const Image& image, float* out) const {
  if (!config_.do_resize && (image.width != config_.width || image.height != config_.height)) {
    throw Error(ErrorCode::bad_image,
                "the model does not resize pictures: it takes " + std::to_string(config_.width) +
                    " x " + std::to_string(config_.height) + " pixels, not " +
                    std::to_string(image.width) + " x " + std::to_string(image.height));
  }
  const Image resized = resize_bicubic(image, config_.width, config_.height);
  const std::size_t count = resized.rgb.size() / 3;
  for (std::size_t c = 0; c < lut_.size(); ++c) {
    const std::array<float, 256>& table = lut_[c];
    const std::uint8_t* values = resized.rgb.data() + c;
    for (std::size_t i = 0; i < count; ++i) *out++ = table[values[3 * i]];
  }
}

Tensor ImageProcessor::process(std::span<const Image> images) const {
  Tensor pixel_values({static_cast<std::int64_t>(images.size()), 3, config_.height, config_.width});
  for (std::size_t i = 0; i < images.size(); ++i) process(images[i], pixel_values[i].data());
  return pixel_values;
}

}  // namespace blip
