// Group B: decoding, bicubic resize and normalisation, byte for byte.
#include "blip/image/decode.h"
#include "blip/image/image_processor.h"
#include "blip/image/resize.h"
#include "tests/golden/golden.h"

namespace blip::golden {
namespace {

std::string sha256_of(const Image& image) {
  return sha256(std::as_bytes(std::span(image.rgb)));
}

void check_resized(const Image& image, const Json& output, const std::filesystem::path& folder) {
  const int height = output.at("size_hw").at(0).get<int>();
  const int width = output.at("size_hw").at(1).get<int>();
  const std::string what = output.at("variant").get<std::string>() + " to " + std::to_string(width);
  const Image resized = resize_bicubic(image, width, height);
  EXPECT_EQ(sha256_of(resized), output.at("resized_sha256_horizontal_first")) << what;
  const Image pillow_13 = resize_bicubic(image, width, height, PassOrder::pillow_13);
  EXPECT_EQ(sha256_of(pillow_13), output.at("resized_sha256"))
      << what << ", Pillow 13's pass order";

  ImageProcessorConfig config;
  config.height = height;
  config.width = width;
  // The reference's pixel values are those of Pillow 13's pass order: its picture is given to the
  // processor at its final size.
  std::vector<float> pixel_values(3 * static_cast<std::size_t>(height) *
                                  static_cast<std::size_t>(width));
  ImageProcessor(config).process(pillow_13, pixel_values.data());
  if (output.contains("pixel_values_sha256_pil")) {
    EXPECT_EQ(sha256(std::as_bytes(std::span(pixel_values))), output.at("pixel_values_sha256_pil"))
        << what;
  }
  if (!output.contains("pixel_values_file")) return;
  const std::filesystem::path file = folder / output.at("pixel_values_file").get<std::string>();
  if (std::filesystem::exists(file)) {
    expect_close(pixel_values, Tensors(file).floats("pixel_values"), {1e-6, 0}, what);
  }
}

void check_picture(const std::filesystem::path& folder) {
  const Json manifest = read_json(folder / "manifest.json");
  const std::filesystem::path file = folder / manifest.at("file").get<std::string>();
  ImageOptions on_white, drop;
  drop.alpha = AlphaMode::drop;
  const Image dropped = load_image(file, drop);
  const Image laid_on_white = load_image(file, on_white);
  EXPECT_EQ(dropped.width, manifest.at("width"));
  EXPECT_EQ(dropped.height, manifest.at("height"));
  EXPECT_EQ(sha256_of(dropped), manifest.at("rgb_drop_alpha").at("sha256"))
      << "decoded, alpha dropped";
  if (manifest.contains("rgb_on_white")) {
    EXPECT_EQ(sha256_of(laid_on_white), manifest.at("rgb_on_white").at("sha256"))
        << "decoded, on white";
  } else {
    EXPECT_EQ(laid_on_white.rgb, dropped.rgb) << "no transparency, yet --alpha matters";
  }
  if (manifest.contains("rgb_exif_transposed")) {
    const std::filesystem::path turned =
        folder / manifest.at("rgb_exif_transposed").at("file").get<std::string>();
    if (std::filesystem::exists(turned)) {
      ImageOptions exif;
      exif.exif_orientation = true;
      EXPECT_EQ(load_image(file, exif).rgb, load_image(turned).rgb) << "turned by EXIF";
    }
  }
  for (const Json& output : manifest.at("outputs")) {
    check_resized(output.at("variant") == "on_white" ? laid_on_white : dropped, output, folder);
  }
}

void check_normalisation_table(const std::filesystem::path& file) {
  const std::vector<float> wanted = Tensors(file).floats("pil_5_23");
  ImageProcessorConfig config;
  config.height = 1;
  config.width = 256;
  Image ramp{256, 1, {}};
  for (int v = 0; v < 256; ++v) ramp.rgb.insert(ramp.rgb.end(), 3, static_cast<std::uint8_t>(v));
  std::vector<float> got(3 * 256);
  ImageProcessor(config).process(ramp, got.data());
  EXPECT_EQ(got, wanted);
}

}  // namespace

void register_images() {
  for (const std::filesystem::path& folder : case_folders("B_image")) {
    add_test("B_image", folder.filename().string(), [folder] { check_picture(folder); });
  }
  const std::filesystem::path table = root() / "B_image" / "normalize_lut.safetensors";
  if (std::filesystem::exists(table)) {
    add_test("B_image", "normalize_lut", [table] { check_normalisation_table(table); });
  }
}

}  // namespace blip::golden
