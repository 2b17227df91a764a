#include "blip/model/smoothing.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "blip/base/error.h"
#include "blip/ops/linear.h"

namespace blip {
namespace {

constexpr std::size_t kRowsPerPicture = 32;
constexpr std::size_t kMostRows = 128;
constexpr std::string_view kInput = ".input";
/// What the cross-attention projections see, by the vision encoder's name for it.
constexpr const char* kImageEmbeds = "vision.last_hidden_state";

Weight own(std::vector<float> values) {
  const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  return Weight({static_cast<std::int64_t>(kept->size())}, kept->data(), kept);
}

/// Largest magnitude of each column of `weight` [out, in].
std::vector<float> largest_per_input(const Weight& weight, std::size_t in) {
  std::vector<float> largest(in);
  for (std::size_t i = 0; i < weight.size(); ++i) {
    largest[i % in] = std::max(largest[i % in], std::fabs(weight.data()[i]));
  }
  return largest;
}

/// Factors for inputs: the stronger, the more of the outliers' range moves into the weights.
Weight smoothing_of(const std::vector<float>& inputs, const std::vector<float>& weights,
                    float strength) {
  constexpr float kLeast = 1e-5f;
  std::vector<float> factors(inputs.size());
  double log_sum = 0;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    factors[i] = std::pow(std::max(weights[i], kLeast), 1.0f - strength) /
                 std::pow(std::max(inputs[i], kLeast), strength);
    log_sum += std::log(double{factors[i]});
  }
  // Around 1, so that neither side leaves the range of its scale.
  const auto centre = static_cast<float>(std::exp(log_sum / static_cast<double>(factors.size())));
  for (float& f : factors) f = std::clamp(f / centre, 1e-4f, 1e4f);
  return own(std::move(factors));
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return sum;
}

bool sees_the_picture(const std::string& name, const BlipConfig& config) {
  const bool key_or_value = name.ends_with("crossattention.self.key.weight") ||
                            name.ends_with("crossattention.self.value.weight");
  const bool of_questions =
      config.architecture == Architecture::question_answering && name.starts_with("text_decoder.");
  return key_or_value && !of_questions;
}

}  // namespace

SmoothingSearch::SmoothingSearch(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint), vision_(checkpoint.config.vision, checkpoint.tensors) {}

void SmoothingSearch::observe(std::span<const float> pixel_values, int height, int width,
                              const Context& context) {
  std::vector<float> image_embeds(static_cast<std::size_t>(vision_.num_tokens(height, width)) *
                                  static_cast<std::size_t>(vision_.config().hidden_size));
  const Probe probe = [&](std::string_view name, std::span<const float> values,
                          const Shape& shape) {
    if (name.ends_with(kInput) || name == kImageEmbeds) {
      add(std::string(name), values, static_cast<std::size_t>(shape.back()));
    }
  };
  vision_.forward(pixel_values, height, width, image_embeds, context, probe);
}

void SmoothingSearch::add(const std::string& name, std::span<const float> values,
                          std::size_t width) {
  Inputs& inputs = inputs_[name];
  inputs.largest.resize(width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    inputs.largest[i % width] = std::max(inputs.largest[i % width], std::fabs(values[i]));
  }
  const std::size_t rows = values.size() / width;
  const std::size_t step = std::max<std::size_t>(rows / kRowsPerPicture, 1);
  for (std::size_t r = 0; r < rows && inputs.rows.size() < kMostRows * width; r += step) {
    const float* row = values.data() + r * width;
    inputs.rows.insert(inputs.rows.end(), row, row + width);
  }
}

Smoothing SmoothingSearch::choose(const Context& context) const {
  if (inputs_.empty()) throw Error(ErrorCode::usage, "no picture could be used to calibrate with");
  const ThreadScope threads(context);
  Smoothing smoothing;
  for (const auto& [name, tensor] : checkpoint_.tensors.tensors()) {
    if (!name.ends_with(".weight")) continue;
    context.check_stop();
    const std::string layer = name.substr(0, name.rfind('.'));
    const auto found =
        inputs_.find(sees_the_picture(name, checkpoint_.config) ? std::string(kImageEmbeds)
                                                                : layer + std::string(kInput));
    if (found == inputs_.end()) continue;
    Weight best = best_for(checkpoint_.tensors.weight(name, tensor.shape), found->second);
    if (!best.empty()) smoothing.emplace(layer, std::move(best));
  }
  return smoothing;
}

Weight SmoothingSearch::best_for(const Weight& weight, const Inputs& inputs) const {
  const std::size_t in = inputs.largest.size();
  const std::size_t out = weight.size() / in, rows = inputs.rows.size() / in;
  std::vector<float> wanted(rows * out), got(rows * out);
  Linear(to_matrix(weight), {}).forward_many(inputs.rows.data(), rows, wanted.data());
  const auto error = [&](const Weight& factors) {
    Linear(to_int8(weight, factors), {}).forward_many(inputs.rows.data(), rows, got.data());
    return squared_distance(got, wanted);
  };
  const std::vector<float> weights = largest_per_input(weight, in);
  Weight best;
  double least = error(best);
  for (const float strength : {0.25f, 0.5f, 0.75f}) {
    Weight factors = smoothing_of(inputs.largest, weights, strength);
    const double here = error(factors);
    if (here < least) {
      least = here;
      best = std::move(factors);
    }
  }
  return best;
}

}  // namespace blip
