#include "tests/golden/forward.h"

#include <algorithm>
#include <cmath>

#include "blip/base/error.h"

namespace blip::golden {
namespace {

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

double log_sum_exp(std::span<const float> x) {
  double top = x[0];
  for (const float v : x) top = std::max(top, double{v});
  double sum = 0;
  for (const float v : x) sum += std::exp(double{v} - top);
  return top + std::log(sum);
}

/// Digests of a padded batch's logits, as far as the file has them.
struct LogitDigests {
  LogitDigests(const Tensors& expected, const std::string& prefix) {
    const auto floats = [&](const char* name, std::vector<float>& to) {
      if (!expected.contains(prefix + name)) return;
      to = expected.floats(prefix + name);
      columns = size(expected.shape(prefix + name).at(1));
      rows = size(expected.shape(prefix + name).at(0));
      names.push_back(prefix + name);
    };
    floats("logits_every61", every);
    floats("logits_logsumexp", sums);
    floats("logits_top16_values", top);
    if (top.empty()) return;
    names.push_back(prefix + "logits_top16_ids");
    top_ids = expected.ints(names.back());
    if (top_ids.size() != top.size()) throw Error(ErrorCode::bad_model, "top 16 without their ids");
  }

  /// Compares one token's logits.
  void expect(std::span<const float> token, std::size_t at, const std::string& what) const {
    std::vector<float> got;
    if (!every.empty()) {
      for (std::size_t i = 0; i < token.size(); i += 61) got.push_back(token[i]);
      ASSERT_EQ(got.size() * rows * columns, every.size()) << what;
      expect_close(got, std::span(every).subspan(at * got.size(), got.size()), kHiddenStates, what);
    }
    if (!top.empty()) {
      got.clear();
      ASSERT_LE((at + 1) * 16, top.size()) << what;
      for (const int id : std::span(top_ids).subspan(at * 16, 16)) {
        ASSERT_LT(size(id), token.size()) << what;
        got.push_back(token[size(id)]);
      }
      expect_close(got, std::span(top).subspan(at * 16, 16), kHiddenStates, what + ", top 16");
    }
    if (!sums.empty()) {
      EXPECT_NEAR(log_sum_exp(token), sums.at(at), 2e-4 + 2e-4 * std::fabs(sums.at(at))) << what;
    }
  }

  std::vector<float> every, top, sums;
  std::vector<int> top_ids;
  std::size_t rows = 0, columns = 0;
  std::vector<std::string> names;
};

}  // namespace

std::vector<std::vector<int>> unpadded_rows(const Tensors& tensors, const std::string& ids,
                                            const std::string& mask) {
  const std::vector<int> all = tensors.ints(ids), masks = tensors.ints(mask);
  const std::size_t columns = size(tensors.shape(ids).at(1));
  if (masks.size() != all.size() || columns == 0)
    throw Error(ErrorCode::bad_model, ids + " and " + mask + " differ in size");
  std::vector<std::vector<int>> rows;
  for (std::size_t r = 0; r * columns < all.size(); ++r) {
    rows.push_back(unpadded(std::span(all).subspan(r * columns, columns),
                            std::span(masks).subspan(r * columns, columns)));
  }
  return rows;
}

void Computed::append(const std::string& name, std::span<const float> values) {
  std::vector<float>& all = values_[name];
  all.insert(all.end(), values.begin(), values.end());
}

Probe Computed::probe(const std::string& prefix) {
  return [this, prefix](std::string_view name, std::span<const float> values, const Shape&) {
    append(prefix + std::string(name.substr(name.find('.') + 1)), values);
  };
}

const std::vector<float>* Computed::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

std::vector<Tensor> encode_pictures(const BlipModel& model, const Tensors& tensors,
                                    const std::string& pixel_values, Computed& computed) {
  const std::vector<float> pixels = tensors.floats(pixel_values);
  const Shape& shape = tensors.shape(pixel_values);
  const std::size_t stride = pixels.size() / size(shape.at(0));
  const int height = static_cast<int>(shape.at(2)), width = static_cast<int>(shape.at(3));
  std::vector<Tensor> encoded;
  for (std::int64_t b = 0; b < shape.at(0); ++b) {
    Tensor& embeds = encoded.emplace_back(
        Shape{model.vision().num_tokens(height, width), model.vision().config().hidden_size});
    model.vision().forward(std::span(pixels).subspan(size(b) * stride, stride), height, width,
                           embeds.span(), {}, computed.probe("vision."));
    std::vector<float> pooled(size(model.vision().config().hidden_size));
    model.vision().pool(embeds.span(), pooled);
    computed.append("vision.pooler_output", pooled);
  }
  return encoded;
}

std::vector<EncodedImage> encode_for_tasks(const Engine& engine, const Tensors& tensors,
                                           const std::string& pixel_values) {
  const std::vector<float> pixels = tensors.floats(pixel_values);
  const Shape& shape = tensors.shape(pixel_values);
  const std::size_t stride = pixels.size() / size(shape.at(0));
  std::vector<EncodedImage> encoded;
  for (std::size_t b = 0; b < size(shape.at(0)); ++b) {
    encoded.push_back(engine.encode_pixel_values(std::span(pixels).subspan(b * stride, stride),
                                                 static_cast<int>(shape.at(2)),
                                                 static_cast<int>(shape.at(3))));
  }
  return encoded;
}

MatchScores match_all(const Engine& engine, std::span<const EncodedImage> images,
                      std::span<const std::string> texts, const MatchOptions& options) {
  const Matcher matcher(engine);
  const std::vector<MatchText> ready = matcher.encode(texts, options);
  MatchScores scores;
  for (const EncodedImage& image : images) {
    for (const Match& match : matcher.match(image, ready)) {
      scores.itm_logits.insert(scores.itm_logits.end(), match.itm_logits.begin(),
                               match.itm_logits.end());
      scores.itm_probability.push_back(static_cast<float>(match.itm_probability));
      scores.itc_similarity.push_back(static_cast<float>(match.itc_similarity));
    }
  }
  return scores;
}

std::vector<float> decoder_logits(const TextDecoder& decoder, const Tensor& states,
                                  const std::vector<int>& text, const std::string& prefix,
                                  Computed& computed) {
  const CrossKeysValues keys_values = decoder.attend_to(states.span(), size(states.dim(0)), {});
  DecoderState state(decoder.config());
  std::vector<float> logits(text.size() * size(decoder.config().vocab_size));
  const DecoderRow row{-1, text, &keys_values};
  decoder.step_all_logits(state, {&row, 1}, logits, {}, computed.probe(prefix));
  return logits;
}

Loss text_loss(std::span<const float> logits, std::span<const int> labels, int vocab_size,
               double label_smoothing) {
  const std::size_t vocab = size(vocab_size);
  Loss loss;
  for (std::size_t t = 0; t + 1 < labels.size(); ++t) {
    if (labels[t + 1] == -100) continue;
    if (labels[t + 1] < 0 || labels[t + 1] >= vocab_size || (t + 1) * vocab > logits.size())
      throw Error(ErrorCode::bad_model, "a label without logits");
    const std::span<const float> token = logits.subspan(t * vocab, vocab);
    const double log_sum = log_sum_exp(token);
    double mean = 0;
    for (const float v : token) mean += log_sum - double{v};
    mean /= vocab_size;
    const double nll = log_sum - double{token[size(labels[t + 1])]};
    loss.sum += (1 - label_smoothing) * nll + label_smoothing * mean;
    ++loss.count;
  }
  return loss;
}

std::vector<Loss> text_losses(const std::vector<std::vector<float>>& logits,
                              std::span<const int> labels, int vocab_size, double label_smoothing) {
  std::vector<Loss> losses;
  const std::size_t columns = labels.size() / logits.size();
  for (std::size_t r = 0; r < logits.size(); ++r) {
    losses.push_back(
        text_loss(logits[r], labels.subspan(r * columns, columns), vocab_size, label_smoothing));
  }
  return losses;
}

float mean_loss(const std::vector<Loss>& losses) {
  Loss total;
  for (const Loss& loss : losses) {
    total.sum += loss.sum;
    total.count += loss.count;
  }
  return static_cast<float>(total.sum / total.count);
}

void Expected::expect(const std::string& name, std::span<const float> got, Tolerance tolerance) {
  if (!values_.contains(name)) return;
  expect_close(got, values_.floats(name), tolerance, name);
  done_.insert(name);
}

std::vector<int> Expected::ints(const std::string& name) {
  done_.insert(name);
  return values_.ints(name);
}

void Expected::expect_ragged(const std::string& name, std::span<const float> got,
                             std::span<const std::vector<int>> texts) {
  if (!values_.contains(name)) return;
  done_.insert(name);
  const std::vector<float> wanted = values_.floats(name);
  const std::size_t columns = size(values_.shape(name).at(1)),
                    width = size(values_.shape(name).at(2));
  std::size_t offset = 0;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    const std::size_t count = std::min(texts[r].size(), columns) * width;
    ASSERT_LE(offset + count, got.size()) << name;
    ASSERT_LE(r * columns * width + count, wanted.size()) << name;
    expect_close(got.subspan(offset, count), std::span(wanted).subspan(r * columns * width, count),
                 kHiddenStates, name + " of text " + std::to_string(r));
    offset += texts[r].size() * width;
  }
}

void Expected::expect_computed(const std::string& prefix, const Computed& computed) {
  for (const std::string& name : values_.names()) {
    const std::vector<float>* got = name.starts_with(prefix) ? computed.find(name) : nullptr;
    if (got != nullptr) expect(name, *got);
  }
}

void Expected::expect_computed(const std::string& prefix, const Computed& computed,
                               std::span<const std::vector<int>> texts) {
  for (const std::string& name : values_.names()) {
    const std::vector<float>* got = name.starts_with(prefix) ? computed.find(name) : nullptr;
    if (got != nullptr) expect_ragged(name, *got, texts);
  }
}

void Expected::expect_logits(const std::string& prefix,
                             const std::vector<std::vector<float>>& logits, int vocab_size) {
  const LogitDigests digests(values_, prefix);
  const std::size_t vocab = size(vocab_size);
  done_.insert(digests.names.begin(), digests.names.end());
  for (std::size_t r = 0; r < logits.size() && !digests.names.empty(); ++r) {
    ASSERT_LE(logits[r].size(), digests.columns * vocab) << prefix << "logits of text " << r;
    ASSERT_LT(r, digests.rows) << prefix << "logits";
    for (std::size_t t = 0; t * vocab < logits[r].size(); ++t) {
      digests.expect(
          std::span(logits[r]).subspan(t * vocab, vocab), r * digests.columns + t,
          prefix + "logits of text " + std::to_string(r) + ", token " + std::to_string(t));
    }
  }
}

void Expected::leave_out(const std::string& prefix) {
  for (const std::string& name : values_.names()) {
    if (name.starts_with(prefix)) done_.insert(name);
  }
}

void Expected::expect_all_compared() const {
  EXPECT_FALSE(values_.names().empty());
  for (const std::string& name : values_.names())
    EXPECT_TRUE(done_.contains(name)) << name << " was compared with nothing";
}

}  // namespace blip::golden
