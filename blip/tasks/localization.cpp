#include "blip/tasks/localization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

#include "blip/base/error.h"
#include "blip/model/attention_maps.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/text_input.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

/// A text as it goes through the layers, and which row of the attention tells of which token.
struct TracedText {
  std::vector<int> ids;
  std::vector<int> words;     ///< tokens of the text itself
  std::size_t first_row = 0;  ///< row of words[0]; the others follow
  bool truncated = false;
};

TracedText trace_text(const Engine& engine, const std::string& text, bool decoder,
                      const LocalizationOptions& options) {
  TracedText traced;
  EncodedText encoded = encode_text(
      engine, text, "text", decoder ? FirstToken::cls : options.first_token, options.max_length);
  traced.truncated = encoded.truncated;
  traced.words.assign(encoded.ids.begin() + 1, encoded.ids.end() - 1);
  traced.ids = std::move(encoded.ids);
  if (decoder) {
    // The row of a token is the one that it was chosen from: the token before it, at first [DEC].
    traced.ids.front() = engine.model().config().text.bos_token_id;
    traced.ids.resize(traced.words.size());
  } else {
    traced.first_row = 1;
  }
  return traced;
}

std::vector<std::size_t> layers_of(const Med& med, const std::vector<int>& wanted, bool gradient) {
  const std::size_t count = med.num_layers();
  // What words see in the last layer has no say any more: only the first token is judged there.
  if (wanted.empty())
    return {gradient ? std::min(count * 7 / 12, count - std::min<std::size_t>(count, 2))
                     : count - 1};
  std::vector<std::size_t> layers;
  for (const int layer : wanted) {
    if (layer < 0 || static_cast<std::size_t>(layer) >= count) {
      throw Error(ErrorCode::usage, "layers are 0 to " + std::to_string(count - 1) +
                                        ", but layer " + std::to_string(layer) + " is asked for");
    }
    layers.push_back(static_cast<std::size_t>(layer));
  }
  return layers;
}

/// [tokens, patches]: attention averaged over heads and the layers, weighed where there is a
/// gradient; the class token is left out.
Tensor average(std::span<const AttentionMap> maps, std::size_t first_layer,
               std::span<const std::size_t> layers) {
  const Shape& shape = maps.front().probabilities.shape();
  const auto heads = static_cast<std::size_t>(shape[0]),
             tokens = static_cast<std::size_t>(shape[1]);
  const auto states = static_cast<std::size_t>(shape[2]), patches = states - 1;
  Tensor mean({shape[1], shape[2] - 1});
  std::fill_n(mean.data(), mean.size(), 0.0f);
  const float share = 1 / static_cast<float>(heads * layers.size());
  for (const std::size_t layer : layers) {
    const AttentionMap& map = maps[layer - first_layer];
    for (std::size_t row = 0; row < heads * tokens; ++row) {
      const float* p = map.probabilities.data() + row * states + 1;
      float* to = mean.data() + row % tokens * patches;
      if (map.gradient.size() == 0) {
        for (std::size_t i = 0; i < patches; ++i) to[i] += share * p[i];
        continue;
      }
      const float* g = map.gradient.data() + row * states + 1;
      for (std::size_t i = 0; i < patches; ++i) to[i] += share * p[i] * std::max(g[i], 0.0f);
    }
  }
  return mean;
}

/// Places in `text` of the tokens of `word`, every time that it stands there.
std::vector<std::size_t> find_word(const Engine& engine, std::span<const int> text,
                                   const std::string& word) {
  const std::vector<int> ids = engine.tokenizer().encode_plain(word);
  std::vector<std::size_t> places;
  for (auto at = text.begin(); !ids.empty();) {
    at = std::search(at, text.end(), ids.begin(), ids.end());
    if (at == text.end()) break;
    for (std::size_t i = 0; i < ids.size(); ++i)
      places.push_back(static_cast<std::size_t>(at - text.begin()) + i);
    at += static_cast<std::ptrdiff_t>(ids.size());
  }
  if (places.empty()) throw Error(ErrorCode::usage, "the text has no word " + in_quotes(word));
  return places;
}

/// From cold, 0, to hot, 1: blue, cyan, yellow, red.
std::array<float, 3> colour(float heat) {
  const auto tent = [heat](float centre) {
    return std::clamp(1.5f - std::fabs(4 * heat - centre), 0.0f, 1.0f);
  };
  return {tent(3), tent(2), tent(1)};
}

/// Value of the map at a place between the centres of patches, 0 to 1 in both directions.
float sample(const HeatMap& map, float x, float y) {
  const auto split = [](float at, int size) {
    const float place =
        std::clamp(at * static_cast<float>(size) - 0.5f, 0.0f, static_cast<float>(size - 1));
    const int low = static_cast<int>(place);
    return std::tuple(low, std::min(low + 1, size - 1), place - static_cast<float>(low));
  };
  const auto [left, right, dx] = split(x, map.columns);
  const auto [upper, lower, dy] = split(y, map.rows);
  const auto value = [&](int row, int column) {
    return map.values[static_cast<std::size_t>(row) * static_cast<std::size_t>(map.columns) +
                      static_cast<std::size_t>(column)];
  };
  const float above = value(upper, left) * (1 - dx) + value(upper, right) * dx;
  const float below = value(lower, left) * (1 - dx) + value(lower, right) * dx;
  return above * (1 - dy) + below * dy;
}

}  // namespace

Localizer::Localizer(Engine engine) : engine_(std::move(engine)) {
  const Architecture architecture = engine_.model().config().architecture;
  if (architecture == Architecture::nlvr) {
    throw Error(ErrorCode::unsupported,
                "heat maps are made for texts that look at one picture; this checkpoint's look at "
                "two");
  }
}

std::vector<HeatMap> Localizer::locate(const EncodedImage& image, const std::string& text,
                                       std::span<const std::string> words,
                                       const LocalizationOptions& options,
                                       const Context& context) const {
  const BlipModel& model = engine_.model();
  const EncodedImage::Data& picture = data_of(image, engine_);
  const bool decoder = model.config().architecture == Architecture::captioning;
  const TracedText traced = trace_text(engine_, text, decoder, options);
  std::vector<std::vector<std::size_t>> places;
  for (const std::string& word : words) places.push_back(find_word(engine_, traced.words, word));
  if (words.empty()) {
    std::vector<std::size_t>& all = places.emplace_back(traced.words.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
  }

  const Med& med = decoder ? model.text_decoder().med() : model.text_encoder().med();
  const bool gradient = options.gradient.value_or(model.has_itm_head());
  const std::vector<std::size_t> layers = layers_of(med, options.layers, gradient);
  const std::size_t first_layer = *std::min_element(layers.begin(), layers.end());
  std::vector<float> logit_weights;
  if (gradient) logit_weights = model.itm_match_weights();
  const std::vector<AttentionMap> maps =
      attention_maps(med, decoder ? picture.for_decoder(context) : picture.for_encoder(context),
                     {traced.ids, decoder, first_layer, logit_weights}, context);
  const Tensor of_tokens = average(maps, first_layer, layers);

  std::vector<HeatMap> found;
  for (const std::vector<std::size_t>& tokens : places) {
    HeatMap& map = found.emplace_back();
    map.rows = picture.rows;
    map.columns = picture.columns;
    map.truncated = traced.truncated;
    map.values.resize(static_cast<std::size_t>(of_tokens.dim(1)));
    for (const std::size_t token : tokens) {
      const std::span<const float> row = of_tokens[traced.first_row + token];
      for (std::size_t i = 0; i < row.size(); ++i)
        map.values[i] += row[i] / static_cast<float>(tokens.size());
    }
  }
  return found;
}

Image overlay(const Image& picture, const HeatMap& map) {
  if (map.rows < 1 || map.columns < 1 ||
      map.values.size() !=
          static_cast<std::size_t>(map.rows) * static_cast<std::size_t>(map.columns)) {
    throw Error(ErrorCode::usage, "a heat map must have a value for each of its patches");
  }
  const auto [least, largest] = std::minmax_element(map.values.begin(), map.values.end());
  const float range = *largest > *least ? *largest - *least : 1;
  Image out = picture;
  std::uint8_t* pixel = out.rgb.data();
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x, pixel += 3) {
      const float value =
          sample(map, (static_cast<float>(x) + 0.5f) / static_cast<float>(picture.width),
                 (static_cast<float>(y) + 0.5f) / static_cast<float>(picture.height));
      const float scaled = (value - *least) / range;
      const float heat = scaled > 0 ? std::min(scaled, 1.0f) : 0;  // NaN is cold
      const float opacity = 0.15f + 0.5f * heat;
      const std::array<float, 3> hue = colour(heat);
      for (std::size_t c = 0; c < 3; ++c) {
        pixel[c] = static_cast<std::uint8_t>(
            std::lround(static_cast<float>(pixel[c]) * (1 - opacity) + 255 * hue[c] * opacity));
      }
    }
  }
  return out;
}

}  // namespace blip
