#include "blip/image/image_processor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "blip/base/error.h"

namespace blip {
namespace {

ImageProcessorConfig parse(const char* text) {
  return ImageProcessorConfig::from_json(parse_json(text, "test"));
}

ErrorCode error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

/// Every value once in each channel, in a row.
Image all_values() {
  Image image{256, 1, std::vector<std::uint8_t>(256 * 3)};
  for (std::size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<std::uint8_t>(i / 3);
  return image;
}

std::vector<float> process(const ImageProcessorConfig& config, const Image& image) {
  std::vector<float> out(3 * static_cast<std::size_t>(config.height * config.width));
  ImageProcessor(config).process(image, out.data());
  return out;
}

TEST(ImageProcessor, RescalesThenNormalisesInSinglePrecision) {
  ImageProcessorConfig config;
  config.width = 256;
  config.height = 1;
  const std::vector<float> out = process(config, all_values());
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t v = 0; v < 256; ++v) {
      const auto scaled = static_cast<float>(static_cast<double>(v) * (1.0 / 255.0));
      const float expected =
          (scaled - static_cast<float>(config.mean[c])) / static_cast<float>(config.std[c]);
      ASSERT_EQ(out[c * 256 + v], expected) << c << " " << v;
    }
  }
  EXPECT_NEAR(out[0], -1.7922626, 1e-6);  // black is -mean / std
}

TEST(ImageProcessor, StepsCanBeLeftOut) {
  ImageProcessorConfig config;
  config.width = 256;
  config.height = 1;
  config.do_normalize = false;
  EXPECT_EQ(process(config, all_values())[255], 1.0f);
  config.do_rescale = false;
  EXPECT_EQ(process(config, all_values())[200], 200.0f);
  config.do_normalize = true;
  config.mean = {10, 20, 30};
  config.std = {2, 4, 8};
  const std::vector<float> out = process(config, all_values());
  EXPECT_EQ(out[50], 20.0f);
  EXPECT_EQ(out[256 + 60], 10.0f);
  EXPECT_EQ(out[512 + 110], 10.0f);
}

TEST(ImageProcessor, WithoutResizingOtherSizesAreRefused) {
  ImageProcessorConfig config;
  config.width = 255;
  config.height = 1;
  config.do_resize = false;
  EXPECT_EQ(error_of([&] { process(config, all_values()); }), ErrorCode::bad_image);
  config.width = 256;
  EXPECT_EQ(process(config, all_values()).size(), 768u);
}

TEST(ImageProcessor, BatchesStackPictures) {
  ImageProcessorConfig config;
  config.width = 5;
  config.height = 7;
  const Image black{3, 2, std::vector<std::uint8_t>(18, 0)};
  const Image white{8, 9, std::vector<std::uint8_t>(216, 255)};
  const std::vector<Image> images = {black, white};
  const Tensor batch = ImageProcessor(config).process(images);
  EXPECT_EQ(batch.shape(), (Shape{2, 3, 7, 5}));
  const std::vector<float> second = process(config, white);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), batch[1].begin()));
  EXPECT_LT(batch[0][0], 0.0f);
  EXPECT_EQ(ImageProcessor(config).process(std::span<const Image>()).shape(), (Shape{0, 3, 7, 5}));
}

TEST(ImageProcessorConfig, ReadsWhatTransformersWrites) {
  const ImageProcessorConfig config = parse(R"({
    "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
    "image_mean": [0.5, 0.25, 0.125], "image_processor_type": "BlipImageProcessor",
    "image_std": [1, 2.0, 3.0], "resample": 3, "rescale_factor": 0.5,
    "size": {"height": 480, "width": 360}, "crop_size": null})");
  EXPECT_EQ(config.height, 480);
  EXPECT_EQ(config.width, 360);
  EXPECT_EQ(config.rescale_factor, 0.5);
  EXPECT_EQ(config.mean, (std::array{0.5, 0.25, 0.125}));
  EXPECT_EQ(config.std, (std::array{1.0, 2.0, 3.0}));
  EXPECT_TRUE(config.do_resize && config.do_rescale && config.do_normalize);
}

TEST(ImageProcessorConfig, SizesComeInThreeForms) {
  EXPECT_EQ(parse(R"({"size": 224})").width, 224);
  EXPECT_EQ(parse(R"({"size": 224})").height, 224);
  EXPECT_EQ(parse(R"({"size": [10, 20]})").height, 10);
  EXPECT_EQ(parse(R"({"size": [10, 20]})").width, 20);
  EXPECT_EQ(parse(R"({"size": 4096})").width, 4096);
}

TEST(ImageProcessorConfig, AbsentAndNullKeepTheDefaults) {
  const ImageProcessorConfig defaults;
  for (const char* text : {"{}", R"({"size": null, "image_mean": null, "resample": null,
                                     "do_resize": null, "rescale_factor": null})"}) {
    const ImageProcessorConfig config = parse(text);
    EXPECT_EQ(config.height, defaults.height);
    EXPECT_EQ(config.mean, defaults.mean);
    EXPECT_EQ(config.rescale_factor, defaults.rescale_factor);
    EXPECT_TRUE(config.do_resize);
  }
  EXPECT_FALSE(parse(R"({"do_resize": false})").do_resize);
  EXPECT_FALSE(parse(R"({"do_normalize": false})").do_normalize);
}

TEST(ImageProcessorConfig, RefusesNonsense) {
  for (const char* text : {
           "[]",
           "3",
           R"({"size": 0})",
           R"({"size": -5})",
           R"({"size": 4097})",
           R"({"size": 1e99})",
           R"({"size": 18446744073709551615})",
           R"({"size": 224.5})",
           R"({"size": "224"})",
           R"({"size": true})",
           R"({"size": []})",
           R"({"size": [1, 2, 3]})",
           R"({"size": {"height": 3}})",
           R"({"size": {"height": 3, "width": null}})",
           R"({"size": {"height": 3, "width": 0}})",
           R"({"do_resize": 1})",
           R"({"do_normalize": "yes"})",
           R"({"resample": "bicubic"})",
           R"({"resample": 3.5})",
           R"({"image_mean": 0.5})",
           R"({"image_mean": [0.5, 0.5]})",
           R"({"image_mean": [0.5, 0.5, "x"]})",
           R"({"image_mean": [0.5, 0.5, 1e300]})",
           R"({"image_std": [0.5, 0.5, 0]})",
           R"({"image_std": [0.5, 0.5, -1]})",
           R"({"image_std": [0.5, 0.5, 1e-300]})",
           R"({"rescale_factor": 0})",
           R"({"rescale_factor": -1})",
           R"({"rescale_factor": 1e38})",
           R"({"rescale_factor": "1/255"})",
       }) {
    EXPECT_EQ(error_of([&] { parse(text); }), ErrorCode::bad_model) << text;
  }
}

TEST(ImageProcessorConfig, RefusesWhatItDoesNotHandle) {
  for (const char* text :
       {R"({"resample": 2})", R"({"resample": 0})", R"({"resample": 18446744073709551615})",
        R"({"size": {"shortest_edge": 384}})"}) {
    EXPECT_EQ(error_of([&] { parse(text); }), ErrorCode::unsupported) << text;
  }
}

}  // namespace
}  // namespace blip
