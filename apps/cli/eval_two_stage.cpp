#include "apps/cli/eval_two_stage.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "blip/base/error.h"
#include "blip/dataset/text_cleaning.h"
#include "blip/ops/matmul.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

constexpr float kUnread = -std::numeric_limits<float>::infinity();

/// The `k` greatest of `count` values, without kUnread; of equal ones the first.
std::vector<std::size_t> top_k(std::size_t count, std::size_t k,
                               const std::function<float(std::size_t)>& value) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count; ++i) {
    if (value(i) != kUnread) order.push_back(i);
  }
  k = std::min(k, order.size());
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(k);
  std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
    return value(a) > value(b) || (value(a) == value(b) && a < b);
  });
  order.resize(k);
  return order;
}

Json describe(const TwoStageOptions& options) {
  return {{"k", options.k},
          {"max_words", options.max_words},
          {"split", options.split},
          {"itm_token", options.itm_token == FirstToken::enc ? "enc" : "cls"}};
}

}  // namespace

RetrievalTexts::RetrievalTexts(const std::vector<CaptionedImage>& images, std::size_t max_words)
    : of_image(images.size()) {
  for (std::size_t i = 0; i < images.size(); ++i) {
    for (const std::string& caption : images[i].captions) {
      of_image[i].push_back(texts.size());
      image_of.push_back(i);
      texts.push_back(clean_caption(caption, max_words));
    }
  }
}

TwoStage::TwoStage(const EvalFlags& flags, const TwoStageOptions& options,
                   const std::vector<CaptionedImage>& images, const RetrievalTexts& texts)
    : options_(options),
      images_(images),
      texts_(texts),
      batch_size_(flags.batch_size),
      matcher_(flags.model.load()),
      extractor_(matcher_.engine()),
      run_(flags, matcher_.engine(), "retrieval", describe(options),
           std::vector<std::filesystem::path>{flags.annotations}),
      kept_(images.size()),
      logits_(images.size()) {}

RetrievalScores TwoStage::scores() {
  for (std::size_t t = 0; t < texts_.texts.size(); ++t) {
    if (matcher_.engine().tokenizer().encode_plain(texts_.texts[t]).empty()) {
      throw Error(ErrorCode::usage,
                  "a caption of " + in_quotes(images_[texts_.image_of[t]].file) + " has no words");
    }
  }
  MatchOptions options;
  options.itm_token = options_.itm_token;
  match_texts_ = matcher_.encode(texts_.texts, options, run_.context());
  compare_all(image_features());
  choose();
  judge_chosen();
  return combine();
}

bool TwoStage::finish() {
  if (run_.failed() == 0) run_.journal().remove();
  return run_.failed() == 0;
}

TwoStage::Features TwoStage::image_features() {
  constexpr std::size_t kMostKept = std::size_t{4}
                                    << 30;  // bytes; beyond, pictures are encoded again
  Features features(images_.size());
  const std::size_t width = match_texts_.front().text_feat.size();
  run_.for_each_row([&](const Json& row) {
    if (!row.contains("feat")) return;
    std::vector<float>& feature = features.at(row.at("image").get<std::size_t>());
    row["feat"].get_to(feature);
    feature.resize(width);
  });
  std::vector<std::size_t> items;
  for (std::size_t i = 0; i < images_.size(); ++i) {
    if (features[i].empty()) items.push_back(i);
  }
  std::vector<Json> rows;
  run_.run(
      items, batch_size_,
      [&](std::size_t i) {
        const EncodedImage image = run_.pictures().encode(images_[i].file, run_.context());
        features[i] =
            extractor_.image_features({&image, 1}, FeatureKind::normalised, run_.context()).values;
        rows.push_back({{"image", i}, {"feat", features[i]}});
        if (kept_bytes_ + image.image_embeds().size_bytes() > kMostKept) return;
        kept_bytes_ += image.image_embeds().size_bytes();
        kept_[i] = std::make_unique<EncodedImage>(image);
      },
      [&] { return std::exchange(rows, {}); });
  return features;
}

/// ITC's similarities of all pairs.
void TwoStage::compare_all(Features features) {
  const std::size_t width = match_texts_.front().text_feat.size();
  const std::size_t images = images_.size();
  const std::size_t count = texts_.texts.size();
  std::vector<float> image_feats;
  for (const std::vector<float>& feature : features) {
    image_feats.insert(image_feats.end(), feature.begin(), feature.end());
    image_feats.resize(image_feats.size() + width - feature.size());
  }
  std::vector<float> text_feats;
  for (const MatchText& text : match_texts_) {
    text_feats.insert(text_feats.end(), text.text_feat.begin(), text.text_feat.end());
  }
  sims_ = Tensor({static_cast<std::int64_t>(images), static_cast<std::int64_t>(count)});
  const ThreadScope threads(run_.context());
  matmul({image_feats.data(), images, width, width}, {text_feats.data(), count, width, width}, true,
         {sims_.data(), images, count, count});
  for (std::size_t i = 0; i < images; ++i) {
    if (features[i].empty()) std::fill(sims_[i].begin(), sims_[i].end(), kUnread);
  }
}

/// The pairs for the second stage.
void TwoStage::choose() {
  wanted_.resize(images_.size());
  for (std::size_t i = 0; i < images_.size(); ++i) {
    const std::span<const float> row = sims_[i];
    best_texts_.push_back(top_k(row.size(), options_.k, [&](std::size_t t) { return row[t]; }));
    wanted_[i] = best_texts_[i];
  }
  for (std::size_t t = 0; t < texts_.texts.size(); ++t) {
    const float* const column = sims_.data() + t;
    best_images_.push_back(top_k(images_.size(), options_.k,
                                 [&](std::size_t i) { return column[i * texts_.texts.size()]; }));
    for (const std::size_t i : best_images_[t]) wanted_[i].push_back(t);
  }
}

void TwoStage::judge_chosen() {
  run_.for_each_row([&](const Json& row) {
    if (row.contains("texts")) learn(row);
  });
  std::vector<std::size_t> items;
  for (std::size_t i = 0; i < images_.size(); ++i) {
    std::sort(wanted_[i].begin(), wanted_[i].end());
    wanted_[i].erase(std::unique(wanted_[i].begin(), wanted_[i].end()), wanted_[i].end());
    std::erase_if(wanted_[i], [&](std::size_t t) { return logits_[i].contains(t); });
    if (!wanted_[i].empty()) items.push_back(i);
  }
  std::vector<Json> rows;
  run_.run(
      items, 1, [&](std::size_t i) { rows.push_back(judge(i)); },
      [&] { return std::exchange(rows, {}); });
}

Json TwoStage::judge(std::size_t image) {
  // Given up afterwards: matching leaves its keys and values with the picture.
  const std::unique_ptr<EncodedImage> kept = std::move(kept_[image]);
  const EncodedImage encoded =
      kept ? *kept : run_.pictures().encode(images_[image].file, run_.context());
  std::vector<MatchText> texts;
  for (const std::size_t t : wanted_[image]) texts.push_back({match_texts_[t].itm_ids, {}, false});
  Json row = {{"image", image}, {"texts", wanted_[image]}, {"logits", Json::array()}};
  for (const Match& match : matcher_.match(encoded, texts, run_.context())) {
    row["logits"].push_back(match.itm_logits[1]);
  }
  learn(row);
  return row;
}

void TwoStage::learn(const Json& row) {
  auto& known = logits_.at(row.at("image").get<std::size_t>());
  const Json& texts = row.at("texts");
  for (std::size_t n = 0; n < texts.size(); ++n) {
    known[texts[n].get<std::size_t>()] = row.at("logits").at(n).get<float>();
  }
}

RetrievalScores TwoStage::combine() const {
  const auto images = static_cast<std::int64_t>(images_.size());
  const auto count = static_cast<std::int64_t>(texts_.texts.size());
  RetrievalScores scores{Tensor({images, count}), Tensor({count, images})};
  for (Tensor* tensor : {&scores.i2t, &scores.t2i}) {
    std::fill_n(tensor->data(), tensor->size(), kNotScored);
  }
  const auto set = [&](float& score, std::size_t image, std::size_t text) {
    const auto logit = logits_[image].find(text);
    if (logit != logits_[image].end()) score = logit->second + sims_[image][text];
  };
  for (std::size_t i = 0; i < images_.size(); ++i) {
    for (const std::size_t t : best_texts_[i]) set(scores.i2t[i][t], i, t);
  }
  for (std::size_t t = 0; t < texts_.texts.size(); ++t) {
    for (const std::size_t i : best_images_[t]) set(scores.t2i[t][i], i, t);
  }
  return scores;
}

}  // namespace blip::cli
