#include "blip/model/vision_encoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "blip/base/error.h"
#include "blip/model/position_interpolation.h"
#include "blip/ops/attention.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

/// Rearranges a picture's patches into rows of a matrix, [patches, 3 * patch * patch], in the
/// order of the convolution kernel's weights.
void unfold_patches(std::span<const float> pixel_values, int height, int width, int patch,
                    float* rows) {
  const auto h = static_cast<std::size_t>(height), w = static_cast<std::size_t>(width);
  const auto p = static_cast<std::size_t>(patch);
  for (std::size_t y = 0; y < h; y += p) {
    for (std::size_t x = 0; x < w; x += p) {
      for (std::size_t channel = 0; channel < 3; ++channel) {
        for (std::size_t dy = 0; dy < p; ++dy) {
          const float* source = pixel_values.data() + (channel * h + y + dy) * w + x;
          rows = std::copy(source, source + p, rows);
        }
      }
    }
  }
}

}  // namespace

VisionEncoder::VisionEncoder(const VisionConfig& config, const Parameters& parameters)
    : config_(config) {
  const std::string prefix = "vision_model.";
  const int d = config.hidden_size;
  const int grid = config.image_size / config.patch_size;
  const std::string patch = prefix + "embeddings.patch_embedding";
  patch_embedding_ = Linear(
      to_matrix(parameters.weight(patch + ".weight", {d, 3, config.patch_size, config.patch_size})),
      parameters.weight(patch + ".bias", {d}));
  class_embedding_ = parameters.weight(prefix + "embeddings.class_embedding", {1, 1, d});
  position_embedding_ =
      parameters.weight(prefix + "embeddings.position_embedding", {1, 1 + grid * grid, d});
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = prefix + "encoder.layers." + std::to_string(i) + ".";
    layers_.push_back({
        .layer_norm1 = parameters.layer_norm(layer + "layer_norm1", d, config.layer_norm_eps),
        .qkv = parameters.picture_linear(layer + "self_attn.qkv", 3 * d, d),
        .projection = parameters.picture_linear(layer + "self_attn.projection", d, d),
        .layer_norm2 = parameters.layer_norm(layer + "layer_norm2", d, config.layer_norm_eps),
        .fc1 = parameters.picture_linear(layer + "mlp.fc1", config.intermediate_size, d),
        .fc2 = parameters.picture_linear(layer + "mlp.fc2", d, config.intermediate_size),
    });
  }
  post_layernorm_ = parameters.layer_norm(prefix + "post_layernorm", d, config.layer_norm_eps);
}

int VisionEncoder::num_tokens(int height, int width) const {
  return 1 + (height / config_.patch_size) * (width / config_.patch_size);
}

const float* VisionEncoder::position_embedding(int height, int width,
                                               std::vector<float>& own) const {
  if (height == config_.image_size && width == config_.image_size)
    return position_embedding_.data();
  const int patch = config_.patch_size;
  const EmbeddingGrid from{config_.image_size / patch, config_.image_size / patch};
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  own = interpolate_bicubic(position_embedding_.span().subspan(d), config_.hidden_size, from,
                            {height / patch, width / patch});
  own.insert(own.begin(), position_embedding_.data(), position_embedding_.data() + d);
  return own.data();
}

void VisionEncoder::embed(std::span<const float> pixel_values, int height, int width,
                          float* x) const {
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  const auto n = static_cast<std::size_t>(num_tokens(height, width));
  FloatBuffer patches((n - 1) * patch_embedding_.in_features());
  unfold_patches(pixel_values, height, width, config_.patch_size, patches.data());
  patch_embedding_.forward_many(patches.data(), n - 1, x + d);
  std::copy_n(class_embedding_.data(), d, x);
  std::vector<float> own;
  const float* position = position_embedding(height, width, own);
  for (std::size_t i = 0; i < n * d; ++i) x[i] += position[i];
}

std::size_t VisionEncoder::pictures_at_once(int height, int width) const {
  // Two at 384 x 384. Beyond it nothing more was gained, and memory grows.
  constexpr std::size_t kTokens = 1200;
  // Elsewhere a row's last bits could depend on how many stand beside it.
  const bool in_tiles = std::ranges::all_of(layers_, [](const Layer& layer) {
    return fits_tiles(layer.qkv.weight()) && fits_tiles(layer.fc2.weight());
  });
  return in_tiles ? std::max<std::size_t>(
                        1, kTokens / static_cast<std::size_t>(num_tokens(height, width)))
                  : 1;
}

void VisionEncoder::forward(std::span<const float> pixel_values, int height, int width,
                            std::span<float> image_embeds, const Context& context,
                            const Probe& probe) const {
  float* const to = image_embeds.data();
  check_size(height, width);
  forward_together({&pixel_values, 1}, height, width, {&to, 1}, context, probe);
}

void VisionEncoder::forward(std::span<const std::span<const float>> pictures, int height, int width,
                            std::span<float* const> image_embeds, const Context& context) const {
  check_size(height, width);
  const std::size_t most = pictures_at_once(height, width);
  for (std::size_t first = 0; first < pictures.size(); first += most) {
    const std::size_t count = std::min(most, pictures.size() - first);
    forward_together(pictures.subspan(first, count), height, width,
                     image_embeds.subspan(first, count), context, {});
  }
}

void VisionEncoder::check_size(int height, int width) const {
  if (height < config_.patch_size || width < config_.patch_size ||
      height % config_.patch_size != 0 || width % config_.patch_size != 0) {
    throw Error(ErrorCode::usage,
                "a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels cannot be cut into patches of " + std::to_string(config_.patch_size));
  }
}

void VisionEncoder::forward_together(std::span<const std::span<const float>> pictures, int height,
                                     int width, std::span<float* const> image_embeds,
                                     const Context& context, const Probe& probe) const {
  const auto tokens = static_cast<std::size_t>(num_tokens(height, width));
  const std::size_t n = pictures.size() * tokens;
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  // A few pictures of a very small model take a millisecond or two: threads would only wait for
  // each other.
  constexpr std::size_t kSmall = 200'000'000;
  const std::size_t multiply_adds =
      n * layers_.size() * (4 * d * d + 2 * d * layers_[0].fc1.out_features());
  const ThreadScope threads(multiply_adds < kSmall ? Context{1} : context);
  const auto heads = static_cast<std::size_t>(config_.num_attention_heads);
  const AttentionShape attention{heads, d / heads};
  // Attention is no more exact than what it is given.
  const bool from_bf16 =
      layers_[0].qkv.weight().precision != Precision::f32 && tiles_multiply(Precision::bf16);
  const Shape shape = {static_cast<std::int64_t>(n), static_cast<std::int64_t>(d)};

  FloatBuffer x(n * d), next(n * d), normal(n * d), qkv(from_bf16 ? 0 : n * 3 * d);
  FloatBuffer hidden, scratch;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    embed(pictures[i], height, width, x.data() + i * tokens * d);
  }
  if (probe) probe("vision.hidden_states.0", x.span(), shape);

  for (std::size_t i = 0; i < layers_.size(); ++i) {
    context.check_stop();
    const Layer& layer = layers_[i];
    // Told under the layers' own names what they multiply, for choosing int8 scales.
    const auto tell = [&](const char* linear, const FloatBuffer& input) {
      if (!probe) return;
      probe("vision_model.encoder.layers." + std::to_string(i) + "." + linear + ".input",
            input.span(),
            {static_cast<std::int64_t>(n), static_cast<std::int64_t>(input.size() / n)});
    };
    const LayerNormParameters norm1 = layer.layer_norm1.parameters();
    const LayerNormParameters norm2 = layer.layer_norm2.parameters();
    if (probe) layer_norm(norm1, x.data(), n, normal.data());
    tell("self_attn.qkv", normal);
    if (from_bf16) {
      auto* rounded =
          reinterpret_cast<std::uint16_t*>(reuse(scratch, n * 3 * d * sizeof(std::uint16_t)));
      layer.qkv.forward_many_bf16(x.data(), n, rounded, Epilogue::Activation::none, &norm1);
      attention_all_to_all_bf16(attention, rounded, pictures.size(), tokens, normal.data());
    } else {
      layer.qkv.forward_many(x.data(), n, qkv.data(), Epilogue::Activation::none, nullptr, &norm1);
      for (std::size_t first = 0; first < n; first += tokens) {
        attention_all_to_all(attention, qkv.data() + first * 3 * d, tokens,
                             normal.data() + first * d, scratch);
      }
    }
    tell("self_attn.projection", normal);
    layer.projection.forward_many(normal.data(), n, next.data(), Epilogue::Activation::none,
                                  x.data());

    if (probe) {
      layer_norm(norm2, next.data(), n, normal.data());
      tell("mlp.fc1", normal);
      hidden = FloatBuffer(n * layer.fc1.out_features());
      layer.fc1.forward_many(normal.data(), n, hidden.data(), Epilogue::Activation::gelu);
      tell("mlp.fc2", hidden);
    }
    Linear::forward_mlp(layer.fc1, layer.fc2, norm2, next.data(), n, x.data(), next.data(), hidden);
    if (probe) probe("vision.hidden_states." + std::to_string(i + 1), x.span(), shape);
  }
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    post_layernorm_.forward(x.data() + i * tokens * d, tokens, image_embeds[i]);
  }
  if (probe) probe("vision.last_hidden_state", {image_embeds[0], n * d}, shape);
}

void VisionEncoder::pool(std::span<const float> image_embeds, std::span<float> pooled) const {
  post_layernorm_.forward(image_embeds.data(), 1, pooled.data());
}

}  // namespace blip
