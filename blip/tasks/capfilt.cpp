#include "blip/tasks/capfilt.h"

#include <algorithm>
#include <utility>

#include "blip/base/random.h"
#include "blip/index/checksum.h"

namespace blip {
namespace {

void require(bool holds, const char* sentence) {
  if (!holds) throw Error(ErrorCode::usage, sentence);
}

bool needs_models(const CapFiltInput& input) {
  return !input.human && !input.error;
}

/// Marks texts that stand before in the record.
void mark_repeated(std::vector<CapFiltText>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto here = texts.begin() + static_cast<std::ptrdiff_t>(i);
    const bool repeated =
        std::any_of(texts.begin(), here, [&](const auto& t) { return t.text == here->text; });
    if (repeated) here->reason = "repeated";
  }
}

}  // namespace

CaptionOptions nucleus_caption_options() {
  CaptionOptions options = paper_caption_options();
  options.generation.num_beams = 1;
  options.generation.do_sample = true;
  options.generation.top_p = 0.9;
  options.generation.repetition_penalty = 1.1;
  return options;
}

std::string_view name(TextOrigin origin) noexcept {
  return origin == TextOrigin::web ? "web" : "synthetic";
}

std::string_view name(CapFiltVerdict verdict) noexcept {
  switch (verdict) {
    case CapFiltVerdict::kept:
      return "kept";
    case CapFiltVerdict::dropped:
      return "dropped";
    case CapFiltVerdict::failed:
      break;
  }
  return "failed";
}

CapFiltVerdict CapFiltRecord::verdict() const {
  if (error) return CapFiltVerdict::failed;
  const bool any = std::any_of(texts.begin(), texts.end(), [](const auto& t) { return t.kept; });
  return any ? CapFiltVerdict::kept : CapFiltVerdict::dropped;
}

std::vector<std::string> CapFiltRecord::kept_texts() const {
  std::vector<std::string> kept;
  for (const CapFiltText& text : texts) {
    if (text.kept) kept.push_back(text.text);
  }
  return kept;
}

CapFilter::CapFilter(CapFiltModel model, CapFiltOptions options)
    : model_(std::move(model)), options_(std::move(options)) {
  require(options_.captioner || options_.filter,
          "without the captioner and without the filter there is nothing to do");
  require(options_.itm_threshold >= 0 && options_.itm_threshold <= 1,
          "the threshold of ITM must be from 0 to 1");
  require(
      !options_.itc_threshold || (*options_.itc_threshold >= -1 && *options_.itc_threshold <= 1),
      "the threshold of ITC must be from -1 to 1");
}

std::vector<CapFiltRecord> CapFilter::run(std::span<CapFiltInput> inputs,
                                          const Context& context) const {
  std::vector<CapFiltRecord> records;
  std::vector<CapFiltPicture*> pictures;
  for (CapFiltInput& input : inputs) {
    CapFiltRecord& record = records.emplace_back();
    record.key = input.key;
    record.human = input.human;
    record.error = input.error;
    for (const std::string& text : input.texts)
      record.texts.push_back({.text = text, .kept = input.human && !input.error});
    if (needs_models(input)) pictures.push_back(&input.picture);
  }
  if (!pictures.empty()) model_.encode(pictures, context);
  if (options_.captioner) write(inputs, records, context);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!needs_models(inputs[i])) continue;
    judge(inputs[i].picture, records[i], context);
    inputs[i].picture = {};  // what was computed of it takes tens of megabytes
  }
  return records;
}

void CapFilter::write(std::span<CapFiltInput> inputs, std::span<CapFiltRecord> records,
                      const Context& context) const {
  std::vector<const CapFiltPicture*> pictures;
  std::vector<CaptionOptions> options;
  std::vector<CapFiltRecord*> of;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!needs_models(inputs[i])) continue;
    pictures.push_back(&inputs[i].picture);
    of.push_back(&records[i]);
    GenerationConfig& generation = options.emplace_back(options_.writing).generation;
    const std::uint64_t key = checksum(std::as_bytes(std::span(inputs[i].key)));
    generation.seed = stream_seed(generation.seed, key);
  }
  if (pictures.empty()) return;
  const std::vector<std::vector<std::string>> written = model_.write(pictures, options, context);
  for (std::size_t i = 0; i < of.size(); ++i) {
    for (const std::string& text : written[i])
      of[i]->texts.push_back({.text = text, .origin = TextOrigin::synthetic});
  }
}

void CapFilter::judge(const CapFiltPicture& picture, CapFiltRecord& record,
                      const Context& context) const {
  mark_repeated(record.texts);
  std::vector<std::string> texts;
  std::vector<CapFiltText*> of;
  for (CapFiltText& text : record.texts) {
    if (text.reason.empty() && !model_.has_words(text.text)) text.reason = "no words";
    if (!text.reason.empty()) continue;
    texts.push_back(text.text);
    of.push_back(&text);
  }
  // A record's texts are a batch of their own: a score depends on the size of its batch.
  std::vector<CapFiltScores> scores(texts.size());
  if (options_.filter && !texts.empty()) scores = model_.judge(picture, texts, context);
  for (std::size_t i = 0; i < of.size(); ++i) {
    of[i]->scores = scores[i];
    of[i]->reason = reason_against(scores[i]);
    of[i]->kept = of[i]->reason.empty();
  }
}

std::string CapFilter::reason_against(const CapFiltScores& scores) const {
  if (!options_.filter) return "";
  // So written that what is no number does not pass.
  if (scores.itm && !(*scores.itm >= options_.itm_threshold)) return "itm";
  if (options_.itc_threshold && !(scores.itc && *scores.itc >= *options_.itc_threshold)) {
    return "itc";
  }
  return "";
}

}  // namespace blip
