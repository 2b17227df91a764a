#include "blip/tasks/comparison.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip/base/error.h"
#include "blip/model/blip.h"
#include "blip/tasks/encoded_image.h"

namespace blip {
namespace {

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  const double size = std::sqrt(aa * bb);
  return size > 0 ? dot / size : (aa == bb ? 1.0 : 0.0);
}

std::vector<double> log_softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float v : logits) sum += std::exp(double{v} - top);
  std::vector<double> out;
  for (const float v : logits) out.push_back(double{v} - top - std::log(sum));
  return out;
}

double divergence(std::span<const float> wanted, std::span<const float> got) {
  const std::vector<double> p = log_softmax(wanted), q = log_softmax(got);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return std::max(sum, 0.0);
}

/// Logits [ids, V] after each token of a text that looks at `image`.
std::vector<float> all_logits(const Engine& engine, const EncodedImage& image,
                              std::span<const int> ids, const Context& context) {
  const TextDecoder& decoder = engine.model().text_decoder();
  const DecoderRow row{-1, ids, &data_of(image, engine).for_decoder(context)};
  std::vector<float> logits(ids.size() * static_cast<std::size_t>(decoder.config().vocab_size));
  DecoderState state(decoder.config());
  decoder.step_all_logits(state, {&row, 1}, logits, context);
  return logits;
}

}  // namespace

bool ComparisonSummary::passes() const {
  return pictures > 0 && cosine >= kLeastCosine && divergence <= kMostDivergence;
}

ComparisonSummary summarise(const std::vector<PictureComparison>& pictures) {
  ComparisonSummary summary;
  summary.pictures = pictures.size();
  if (pictures.empty()) return summary;
  summary.cosine = summary.identical = 0;
  for (const PictureComparison& one : pictures) {
    summary.cosine += one.cosine;
    summary.divergence += one.divergence;
    summary.identical += one.text == one.wanted ? 1 : 0;
    summary.least_cosine = std::min(summary.least_cosine, one.least_cosine);
    summary.largest_divergence = std::max(summary.largest_divergence, one.largest_divergence);
  }
  const auto count = static_cast<double>(pictures.size());
  summary.cosine /= count;
  summary.divergence /= count;
  summary.identical /= count;
  return summary;
}

EngineComparison::EngineComparison(Engine reference, Engine candidate, std::string prompt,
                                   CaptionOptions options)
    : reference_(std::move(reference)),
      candidate_(std::move(candidate)),
      prompt_(std::move(prompt)),
      options_(std::move(options)) {
  if (!reference_.model().config().writes_captions()) return;
  captioners_ = {Captioner(reference_), Captioner(candidate_)};
  for (const Captioner& captioner : captioners_) captioner.validate(prompt_, options_);
}

PictureComparison EngineComparison::compare(const Image& image, const Context& context) const {
  const EncodedImage wanted = reference_.encode({&image, 1}, context).front();
  const EncodedImage got = candidate_.encode({&image, 1}, context).front();
  if (wanted.image_embeds().size() != got.image_embeds().size()) {
    throw Error(ErrorCode::usage, "the two models make picture states of different sizes");
  }
  PictureComparison result;
  const auto tokens = static_cast<std::size_t>(wanted.num_tokens());
  const std::size_t width = wanted.image_embeds().size() / tokens;
  result.cosine = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const double here = cosine(wanted.image_embeds().subspan(t * width, width),
                               got.image_embeds().subspan(t * width, width));
    result.cosine += here / static_cast<double>(tokens);
    result.least_cosine = std::min(result.least_cosine, here);
  }
  if (captions()) compare_texts(wanted, got, context, result);
  return result;
}

void EngineComparison::compare_texts(const EncodedImage& wanted, const EncodedImage& got,
                                     const Context& context, PictureComparison& result) const {
  const CaptionRequest requests[] = {{wanted, prompt_}, {got, prompt_}};
  const auto caption = [&](std::size_t i) {
    return captioners_[i].caption({&requests[i], 1}, options_, context).front().front();
  };
  const Caption reference = caption(0);
  result.wanted = reference.text;
  result.text = caption(1).text;

  // The last id is never fed back; what follows the prompt's others is given.
  const std::span<const int> fed = std::span(reference.ids).first(reference.ids.size() - 1);
  const std::size_t steps = reference.tokens.size();
  const std::vector<float> p = all_logits(reference_, wanted, fed, context);
  const std::vector<float> q = all_logits(candidate_, got, fed, context);
  const std::size_t vocab = p.size() / fed.size();
  for (std::size_t t = fed.size() - steps; t < fed.size(); ++t) {
    const double here =
        divergence(std::span(p).subspan(t * vocab, vocab), std::span(q).subspan(t * vocab, vocab));
    result.divergence += here / static_cast<double>(steps);
    result.largest_divergence = std::max(result.largest_divergence, here);
  }
}

}  // namespace blip
