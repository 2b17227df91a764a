#include "blip/tasks/classification.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"

namespace blip {
namespace {

constexpr std::string_view kPlace = "{}";
constexpr double kInitialTemperature = 0.07;

/// Every template with the label in all its places.
void add_texts(std::span<const std::string> templates, const std::string& label,
               std::vector<std::string>& texts) {
  for (const std::string& one : templates) {
    std::string text = one;
    for (std::size_t at = text.find(kPlace); at != std::string::npos;
         at = text.find(kPlace, at + label.size())) {
      text.replace(at, kPlace.size(), label);
    }
    texts.push_back(std::move(text));
  }
}

/// The authors keep the temperature itself ("temp"), transformers the logarithm of its inverse.
double temperature_of(const Checkpoint& checkpoint) {
  const auto scalar = [&](const char* tensor_name) {
    const StoredTensor* tensor = checkpoint.tensors.find(tensor_name);
    return tensor != nullptr && element_count(tensor->shape) == 1 ? double{to_f32(*tensor)[0]}
                                                                  : std::nan("");
  };
  for (const double temperature : {scalar("temp"), std::exp(-scalar("logit_scale"))}) {
    if (temperature > 0 && std::isfinite(temperature)) return temperature;
  }
  return kInitialTemperature;
}

/// The mean of text features, of length 1 again.
MatchText mean_of(std::span<const MatchText> texts) {
  MatchText mean;
  mean.text_feat.resize(texts.front().text_feat.size());
  double square = 0;
  for (std::size_t i = 0; i < mean.text_feat.size(); ++i) {
    double sum = 0;
    for (const MatchText& text : texts) sum += double{text.text_feat[i]};
    mean.text_feat[i] = static_cast<float>(sum / static_cast<double>(texts.size()));
    square += double{mean.text_feat[i]} * double{mean.text_feat[i]};
  }
  const double scale = 1 / std::max(std::sqrt(square), 1e-12);
  for (float& v : mean.text_feat) v = static_cast<float>(double{v} * scale);
  return mean;
}

}  // namespace

Classifier::Classifier(Engine engine, std::span<const std::string> labels,
                       const ClassificationOptions& options, const Context& context)
    : matcher_(std::move(engine)), labels_(labels.size()), temperature_(options.temperature) {
  if (labels.empty()) throw Error(ErrorCode::usage, "there are no labels to choose from");
  if (options.templates.empty()) throw Error(ErrorCode::usage, "there are no templates");
  if (!(temperature_ >= 0) || !std::isfinite(temperature_)) {
    throw Error(ErrorCode::usage, "the temperature must be a positive number");
  }
  for (const std::string& one : options.templates) {
    if (one.find(kPlace) == std::string::npos) {
      throw Error(ErrorCode::usage,
                  "the template " + in_quotes(one) + " has no {} for the label to stand at");
    }
  }
  std::vector<std::string> texts;
  for (const std::string& label : labels) {
    if (label.find_first_not_of(" \t\r\n") == std::string::npos) {
      throw Error(ErrorCode::usage, "a label is empty");
    }
    add_texts(options.templates, label, texts);
  }
  texts_ = matcher_.encode(
      texts, {options.itm, !options.itm, options.itm_token, options.max_length}, context);
  if (options.itm) {
    temperature_ = 1;
    return;
  }
  if (temperature_ == 0) temperature_ = temperature_of(this->engine().checkpoint());
  std::vector<MatchText> means;
  for (std::size_t i = 0; i < labels_; ++i) {
    const std::size_t count = options.templates.size();
    means.push_back(mean_of(std::span(texts_).subspan(i * count, count)));
  }
  texts_ = std::move(means);
}

std::vector<LabelScore> Classifier::classify(const EncodedImage& image,
                                             const Context& context) const {
  const std::vector<Match> matches = matcher_.match(image, texts_, context);
  const std::size_t count = matches.size() / labels_;
  std::vector<LabelScore> scores(labels_);
  for (std::size_t i = 0; i < matches.size(); ++i) {
    const auto [no, yes] = matches[i].itm_logits;
    scores[i / count].score +=
        (matches[i].itc_similarity + double{yes} - double{no}) / static_cast<double>(count);
  }
  double top = scores.front().score;
  for (const LabelScore& one : scores) top = std::max(top, one.score);
  double sum = 0;
  for (std::size_t i = 0; i < labels_; ++i) {
    scores[i].label = i;
    scores[i].probability = std::exp((scores[i].score - top) / temperature_);
    sum += scores[i].probability;
  }
  for (LabelScore& one : scores) one.probability /= sum;
  std::stable_sort(scores.begin(), scores.end(), [](const LabelScore& a, const LabelScore& b) {
    return a.probability > b.probability;
  });
  return scores;
}

}  // namespace blip
