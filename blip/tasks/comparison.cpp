#include "blip/tasks/comparison.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "blip/base/error.h"
#include "blip/model/blip.h"
#include "blip/tasks/encoded_image.h"
#include "blip/tasks/encoded_questions.h"

namespace blip {
namespace {

/// Each is true of some pictures.
constexpr const char* kSentences[] = {
    "a photo of something", "a drawing",   "people",           "an animal",
    "something to eat",     "a red thing", "a thing outdoors", "two things side by side",
};
constexpr const char* kQuestions[] = {
    "what is in the picture?", "what color is it?", "how many are there?", "where is it?",
    "is there a person?",
};

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
std::vector<float> all_logits(const TextDecoder& decoder, const CrossKeysValues& image,
                              std::span<const int> ids, const Context& context) {
  const DecoderRow row{-1, ids, &image};
  std::vector<float> logits(ids.size() * static_cast<std::size_t>(decoder.config().vocab_size));
  DecoderState state(decoder.config());
  decoder.step_all_logits(state, {&row, 1}, logits, context);
  return logits;
}

/// The logarithm of how much likelier a match is than none.
double odds(const Match& match) {
  return double{match.itm_logits[1]} - double{match.itm_logits[0]};
}

std::optional<ComparisonSummary::Difference> over(const std::vector<double>& differences) {
  if (differences.empty()) return std::nullopt;
  ComparisonSummary::Difference all;
  for (const double one : differences) {
    all.mean += one / static_cast<double>(differences.size());
    all.largest = std::max(all.largest, one);
  }
  return all;
}

void compare_embeds(const EncodedImage& wanted, const EncodedImage& got,
                    PictureComparison& result) {
  if (wanted.image_embeds().size() != got.image_embeds().size()) {
    throw Error(ErrorCode::usage, "the two models make picture states of different sizes");
  }
  const auto tokens = static_cast<std::size_t>(wanted.num_tokens());
  const std::size_t width = wanted.image_embeds().size() / tokens;
  result.cosine = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const double here = cosine(wanted.image_embeds().subspan(t * width, width),
                               got.image_embeds().subspan(t * width, width));
    result.cosine += here / static_cast<double>(tokens);
    result.least_cosine = std::min(result.least_cosine, here);
  }
}

}  // namespace

std::string ComparisonSummary::measured() const {
  std::string parts;
  if (divergence) parts += answers ? ", answers" : ", captions";
  if (itm || itc) parts += ", matching";
  return "vision" + (parts.empty() ? " only" : parts);
}

bool ComparisonSummary::passes() const {
  const auto within = [](const std::optional<Difference>& difference, double most) {
    return !difference || difference->mean <= most;
  };
  return pictures > 0 && cosine >= kLeastCosine && within(divergence, kMostDivergence) &&
         within(itm, kMostMatchChange) && within(itc, kMostMatchChange);
}

ComparisonSummary summarise(const std::vector<PictureComparison>& pictures) {
  ComparisonSummary summary;
  summary.pictures = pictures.size();
  if (pictures.empty()) return summary;
  summary.cosine = 0;
  double largest = 0, identical = 0;
  std::vector<double> divergences, itm, itc;
  for (const PictureComparison& one : pictures) {
    summary.cosine += one.cosine / static_cast<double>(pictures.size());
    summary.least_cosine = std::min(summary.least_cosine, one.least_cosine);
    for (const TextComparison& text : one.texts) {
      divergences.push_back(text.divergence);
      largest = std::max(largest, text.largest_divergence);
      identical += text.text == text.wanted ? 1 : 0;
      summary.answers = !text.question.empty();
    }
    for (const MatchComparison& match : one.matches) {
      if (match.itm) itm.push_back(*match.itm);
      if (match.itc) itc.push_back(*match.itc);
    }
  }
  summary.itm = over(itm);
  summary.itc = over(itc);
  summary.divergence = over(divergences);
  if (!summary.divergence) return summary;
  summary.divergence->largest = largest;
  summary.identical = identical / static_cast<double>(divergences.size());
  return summary;
}

EngineComparison::EngineComparison(Engine reference, Engine candidate, std::string prompt,
                                   CaptionOptions options)
    : reference_(std::move(reference)),
      candidate_(std::move(candidate)),
      prompt_(std::move(prompt)),
      options_(std::move(options)) {
  const BlipModel &one = reference_.model(), &other = candidate_.model();
  matching_.itm = one.has_itm_head() && other.has_itm_head();
  matching_.itc = one.has_itc_heads() && other.has_itc_heads();
  matching_.itm_token = FirstToken::checkpoint;
  if (one.config().writes_captions()) {
    captioners_ = {Captioner(reference_), Captioner(candidate_)};
    for (const Captioner& captioner : captioners_) captioner.validate(prompt_, options_);
  } else if (one.config().architecture == Architecture::question_answering) {
    answerers_ = {QuestionAnswerer(reference_), QuestionAnswerer(candidate_)};
    for (const QuestionAnswerer& answerer : answerers_)
      answerer.validate(AnswerOptions{.generation = options_.generation});
  }
}

PictureComparison EngineComparison::compare(const Image& image, std::span<const std::string> said,
                                            const Context& context) const {
  const Encoded picture{reference_.encode({&image, 1}, context).front(),
                        candidate_.encode({&image, 1}, context).front()};
  PictureComparison result;
  compare_embeds(picture.wanted, picture.got, result);
  if (captions()) compare_captions(picture, context, result);
  if (!answerers_.empty()) compare_answers(picture, context, result);
  if (matches()) compare_matches(picture, said, context, result);
  return result;
}

void EngineComparison::compare_captions(const Encoded& picture, const Context& context,
                                        PictureComparison& result) const {
  const CaptionRequest requests[] = {{picture.wanted, prompt_}, {picture.got, prompt_}};
  const auto caption = [&](std::size_t i) {
    return captioners_[i].caption({&requests[i], 1}, options_, context).front().front();
  };
  const Caption reference = caption(0);
  TextComparison& text = result.texts.emplace_back();
  text.wanted = reference.text;
  text.text = caption(1).text;
  compare_along({reference.ids, reference.tokens.size(),
                 data_of(picture.wanted, reference_).for_decoder(context),
                 data_of(picture.got, candidate_).for_decoder(context)},
                context, text);
}

void EngineComparison::compare_answers(const Encoded& picture, const Context& context,
                                       PictureComparison& result) const {
  const AnswerOptions options{.generation = options_.generation};
  std::vector<Answers> answers[2];
  EncodedQuestions encoded[2];
  for (const std::size_t i : {0, 1}) {
    std::vector<Question> questions;
    for (const char* text : kQuestions)
      questions.push_back({i == 0 ? picture.wanted : picture.got, text});
    answers[i] = answerers_[i].answer(questions, options, context);
    encoded[i] = encode_questions(answerers_[i].engine(), questions, options.question, context);
  }
  for (std::size_t i = 0; i < std::size(kQuestions); ++i) {
    const Answer& reference = answers[0][i].answers.front();
    std::vector<int> ids = {reference_.model().config().text.bos_token_id};
    for (const CaptionToken& token : reference.tokens) ids.push_back(token.id);
    TextComparison& text = result.texts.emplace_back();
    text.question = kQuestions[i];
    text.wanted = reference.text;
    text.text = answers[1][i].answers.front().text;
    compare_along({ids, ids.size() - 1, encoded[0].states[i], encoded[1].states[i]}, context, text);
  }
}

void EngineComparison::compare_along(const Written& written, const Context& context,
                                     TextComparison& result) const {
  // The last id is never fed back; what follows the prompt's others is given.
  const std::span<const int> fed = written.ids.first(written.ids.size() - 1);
  const std::vector<float> p =
      all_logits(reference_.model().text_decoder(), written.wanted, fed, context);
  const std::vector<float> q =
      all_logits(candidate_.model().text_decoder(), written.got, fed, context);
  const std::size_t vocab = p.size() / fed.size();
  for (std::size_t t = fed.size() - written.count; t < fed.size(); ++t) {
    const double here =
        divergence(std::span(p).subspan(t * vocab, vocab), std::span(q).subspan(t * vocab, vocab));
    result.divergence += here / static_cast<double>(written.count);
    result.largest_divergence = std::max(result.largest_divergence, here);
  }
}

void EngineComparison::compare_matches(const Encoded& picture, std::span<const std::string> said,
                                       const Context& context, PictureComparison& result) const {
  std::vector<std::string> texts(std::begin(kSentences), std::end(kSentences));
  texts.insert(texts.end(), said.begin(), said.end());
  const auto match = [&](const Engine& engine, const EncodedImage& image) {
    const Matcher matcher(engine);
    return matcher.match(image, matcher.encode(texts, matching_, context), context);
  };
  const std::vector<Match> wanted = match(reference_, picture.wanted),
                           got = match(candidate_, picture.got);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    MatchComparison& one = result.matches.emplace_back();
    if (matching_.itm) one.itm = std::tanh(std::fabs(odds(got[i]) - odds(wanted[i])) / 2) / 2;
    if (matching_.itc) one.itc = std::fabs(got[i].itc_similarity - wanted[i].itc_similarity);
  }
}

}  // namespace blip
