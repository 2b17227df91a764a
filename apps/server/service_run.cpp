#include "apps/server/service_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "apps/findings/findings.h"
#include "blip/image/image_processor.h"
#include "blip/tasks/description_json.h"

namespace blip::server {
namespace {

void tell(const Events& events, Json data) {
  if (events) events("progress", data);
}

void check_size(const Json& options, std::size_t most) {
  const std::size_t bytes = dump(options).size();
  if (bytes <= most) return;
  throw Error(ErrorCode::too_large, "\"options\" must have at most " + std::to_string(most) +
                                        " bytes, but have " + std::to_string(bytes));
}

/// The limits of a request that has captions written, for each stage of a recipe: its prompts run
/// together.
void check_stages(const DescriptionOptions& options) {
  constexpr std::size_t kMostPrompts = 16;
  const auto check = [](const std::vector<std::string>& prompts,
                        const GenerationConfig& generation) {
    check_sequences(generation);
    if (prompts.size() <= kMostPrompts) return;
    throw Error(ErrorCode::too_large, "a recipe must have at most " + std::to_string(kMostPrompts) +
                                          " prompts at once, but has " +
                                          std::to_string(prompts.size()));
  };
  const ClassicOptions& classic = options.classic;
  for (const PromptStage* stage : {&classic.describe, &classic.extend, &classic.refine})
    check(stage->prompts, stage->generation);
  for (const GenerationConfig* generation : {&options.faithful.beams, &options.faithful.samples})
    check(options.faithful.prompts, *generation);
}

}  // namespace

Json Service::Run::operator()() {
  const auto start = std::chrono::steady_clock::now();
  result_["model"] = model_.id;
  switch (task_) {
    case Task::caption:
      caption();
      break;
    case Task::describe:
      describe();
      break;
    case Task::vqa:
      vqa();
      break;
    case Task::match:
      match();
      break;
    case Task::embed:
      embed();
      break;
    case Task::search:
      search();
      break;
    case Task::heatmap:
      heatmap();
      break;
  }
  result_["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::move(result_);
}

EncodedImage Service::Run::encode(const std::string& bytes, Json& about) {
  const ImageProcessorConfig& size = model_.engine.image_processor().config();
  tell(events_, {{"stage", "reading"}});
  const DecodedPicture decoded = service_.decoders_.decode(bytes, size.width, size.height, ticket_);
  about = {{"width", decoded.width}, {"height", decoded.height}};
  tell(events_, {{"stage", "encoding"}});
  return compute([&](const Context& context) {
    return model_.engine.encode({&decoded.image, 1}, context).front();
  });
}

EncodedImage Service::Run::encode_only() {
  if (images_.size() != 1) {
    throw Error(ErrorCode::usage, "a request must have one picture (\"image\"), but has " +
                                      std::to_string(images_.size()));
  }
  return encode(images_[0], result_["image"]);
}

std::vector<std::string> Service::Run::required_texts(const char* name) {
  std::vector<std::string> texts = fields_.texts(name);
  if (texts.empty()) throw Error(ErrorCode::usage, "\"" + std::string(name) + "\" must be given");
  return texts;
}

void Service::Run::caption() {
  const Captioner& captioner = *model_.captioner;
  const bool paper =
      fields_.word("preset", {"checkpoint", "paper"}).value_or("checkpoint") == "paper";
  CaptionOptions options;
  options.generation = model_.engine.default_generation();
  if (paper) options = paper_caption_options();
  fields_.apply_to(options.generation);
  options.strip_prompt = fields_.flag("strip_prompt").value_or(options.strip_prompt);
  const std::string prompt =
      fields_.text("prompt").value_or(paper ? std::string(kPaperPrompt) : "");
  fields_.refuse_the_rest();
  captioner.validate(prompt, options);
  const CaptionRequest request{encode_only(), prompt};
  tell(events_, {{"stage", "writing"}});
  Scheduler::Watch watch;
  // Beams and samples overtake each other; a text that is alone only grows.
  const GenerationConfig& generation = options.generation;
  const bool settled = generation.num_beams == 1 && generation.num_return_sequences == 1;
  if (events_) {
    watch.text = [this, settled](const std::string& text) {
      events_("partial", {{"text", text}, {"settled", settled}});
    };
  }
  const auto captions =
      service_.scheduler_.caption(captioner, {&request, 1}, {&options, 1}, ticket_, watch);
  result_["captions"] = findings::to_json(captions.front());
}

// The recipes of the library over the scheduler: their prompts join what others write.
void Service::Run::describe() {
  const bool polishes = fields_.flag("polish").value_or(false);
  if (polishes && !service_.polishes())
    throw Error(ErrorCode::unsupported, "the service has no polisher (see --polish-url)");
  const DescriptionOptions options = description_options();
  DescriptionModel model = description_model(*model_.captioner);
  model.caption = [this](std::span<const CaptionRequest> requests,
                         std::span<const CaptionOptions> each, const Context&,
                         const WritingListener& shares) {
    return service_.scheduler_.caption(*model_.captioner, requests, each, ticket_,
                                       {.shares = shares});
  };
  const Describer describer(std::move(model));
  describer.validate(options);
  const EncodedImage image = encode_only();
  const DescriptionListener listener = [this](const DescriptionProgress& progress) {
    Json json = {{"stage", blip::name(progress.stage)},
                 {"round", progress.round},
                 {"rounds", progress.rounds},
                 {"done", progress.done},
                 {"of", progress.of},
                 {"share", std::round(progress.share * 1000) / 1000}};
    if (!progress.prompt.empty()) json["prompt"] = progress.prompt;
    tell(events_, std::move(json));
    if (events_ && !progress.text.empty()) events_("partial", {{"text", progress.text}});
  };
  const Context context{0, ticket_.stop()};
  Description description =
      describer.describe({image, judge_of(image)}, options, listener, context);
  if (polishes) {
    tell(events_, {{"stage", "polishing"}});
    polish(description,
           [&](const std::string& text) { return polished(service_.polish_, text, context); });
    // Who polishes is nobody's business but the service's.
    if (!description.polish_error.empty()) description.polish_error = "the polisher did not answer";
  }
  result_.update(to_json(description));
}

DescriptionOptions Service::Run::description_options() {
  DescriptionOptions options;
  const std::string recipe = fields_.word("recipe", {"classic", "faithful"}).value_or("classic");
  options.recipe = recipe == "faithful" ? DescriptionRecipe::faithful : DescriptionRecipe::classic;
  const std::string detail =
      fields_.word("detail", {"high", "medium", "low", "off"}).value_or("high");
  options.detail = detail == "high"     ? DetailLevel::high
                   : detail == "medium" ? DetailLevel::medium
                   : detail == "low"    ? DetailLevel::low
                                        : DetailLevel::off;
  options.multi_round = fields_.flag("multi_round").value_or(true);
  options.seed = static_cast<std::uint64_t>(fields_.integer("seed", 0, INT64_MAX).value_or(0));
  if (const Json given = fields_.take("options"); !given.is_null()) {
    check_size(given, service_.text_limits_.bytes);
    recipe == "faithful" ? update_from_json(options.faithful, given)
                         : update_from_json(options.classic, given);
  }
  fields_.refuse_the_rest();
  check_stages(options);
  return options;
}

// Who judges candidates, on the scheduler's thread like all computing; the model itself where it
// can.
Judge Service::Run::judge_of(const EncodedImage& image) {
  if (!model_.itm && !model_.itc) return {};
  Judge judge = judge_by(model_.engine, image);
  judge.confidences = [this, confidences = judge.confidences](std::span<const std::string> texts,
                                                              const Context&) {
    return compute([&](const Context& context) { return confidences(texts, context); });
  };
  return judge;
}

void Service::Run::vqa() {
  const QuestionAnswerer& answerer = *model_.answerer;
  const std::vector<std::string> texts = required_texts("question");
  const std::vector<std::string> choices = fields_.texts("answers");
  const auto wanted =
      static_cast<int>(fields_.integer("num_answers", 1, choices.empty() ? 16 : 256).value_or(1));
  AnswerOptions options = answerer.default_options();
  if (choices.empty()) {
    fields_.apply_to(options.generation);
    GenerationConfig& generation = options.generation;
    generation.num_return_sequences = std::max(generation.num_return_sequences, wanted);
    if (!generation.do_sample)
      generation.num_beams = std::max(generation.num_beams, generation.num_return_sequences);
    answerer.validate(options);
  }
  fields_.refuse_the_rest();
  answerer.validate(texts, options.question);
  std::optional<AnswerList> list;
  if (!choices.empty()) list = answerer.encode_answers(choices);
  const EncodedImage image = encode_only();
  tell(events_, {{"stage", "writing"}});
  std::vector<Question> questions;
  for (const std::string& text : texts) questions.push_back({image, text});
  std::vector<Answers> all = compute([&](const Context& context) {
    return list ? answerer.rank(questions, *list, {options.question}, context)
                : answerer.answer(questions, options, context);
  });
  Json json = Json::array();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (list && all[i].answers.size() > static_cast<std::size_t>(wanted))
      all[i].answers.resize(static_cast<std::size_t>(wanted));
    json.push_back(findings::to_json(texts[i], all[i]));
  }
  result_["questions"] = std::move(json);
}

void Service::Run::match() {
  const std::vector<std::string> texts = required_texts("text");
  fields_.refuse_the_rest();
  MatchOptions options;
  options.itm = model_.itm;
  options.itc = model_.itc;
  const EncodedImage image = encode_only();
  tell(events_, {{"stage", "scoring"}});
  result_["matches"] = compute([&](const Context& context) {
    const std::vector<MatchText> encoded = model_.matcher.encode(texts, options, context);
    const std::vector<Match> matches = model_.matcher.match(image, encoded, context);
    Json json = Json::array();
    for (std::size_t i = 0; i < texts.size(); ++i)
      json.push_back(findings::to_json(texts[i], encoded[i], matches[i]));
    return json;
  });
}

void Service::Run::embed() {
  const std::vector<std::string> texts = fields_.texts("text");
  const std::string kind =
      fields_.word("kind", {"raw", "projected", "normalised"}).value_or("normalised");
  fields_.refuse_the_rest();
  if (texts.empty() && images_.empty())
    throw Error(ErrorCode::usage, "\"image\" or \"text\" must be given");
  FeatureOptions options;
  options.kind = kind == "raw"         ? FeatureKind::raw
                 : kind == "projected" ? FeatureKind::projected
                                       : FeatureKind::normalised;
  Json rows = Json::array();
  std::size_t width = 0;
  const auto add = [&](Json row, const Features& features, std::size_t i) {
    width = features.width;
    row["values"] = std::span(features.values).subspan(i * width, width);
    rows.push_back(std::move(row));
  };
  if (!texts.empty()) {
    const Features features = compute([&](const Context& context) {
      return model_.features.text_features(texts, options, context);
    });
    for (std::size_t i = 0; i < texts.size(); ++i) {
      add({{"text", texts[i]}, {"truncated", static_cast<bool>(features.truncated[i])}}, features,
          i);
    }
  }
  for (std::size_t i = 0; i < images_.size(); ++i) {
    Json row = {{"image", i}};
    const EncodedImage image = encode(images_[i], row["size"]);
    add(std::move(row), compute([&](const Context& context) {
          return model_.features.image_features({&image, 1}, options.kind, context);
        }),
        0);
  }
  result_["kind"] = kind;
  result_["width"] = width;
  result_["rows"] = std::move(rows);
}

void Service::Run::search() {
  const Retriever& retriever = *service_.retriever_;
  const std::optional<std::string> text = fields_.text("text");
  RetrievalOptions options;
  options.k = static_cast<std::size_t>(fields_.integer("k", 1, 1000).value_or(10));
  options.rerank = static_cast<std::size_t>(fields_.integer("rerank", 0, 64).value_or(0));
  fields_.refuse_the_rest();
  if (text.has_value() == !images_.empty() || images_.size() > 1)
    throw Error(ErrorCode::usage, "a search takes a \"text\" or an \"image\"");
  SearchResults results;
  if (text) {
    tell(events_, {{"stage", "scoring"}});
    results =
        compute([&](const Context& context) { return retriever.find(*text, options, context); });
    result_["truncated"] = results.truncated;
  } else {
    const EncodedImage image = encode_only();
    results =
        compute([&](const Context& context) { return retriever.find(image, options, context); });
  }
  const bool pictures = retriever.index().manifest().settings.content == IndexContent::images;
  Json json = Json::array();
  for (Found& found : results.found) {
    // Where the pictures lie is nobody's business but the service's.
    if (pictures) found.name = std::filesystem::path(found.name).filename().string();
    if (found.error) found.error = Error(found.error->code(), "the picture could not be judged");
    json.push_back(findings::to_json(found, pictures ? "name" : "text"));
  }
  result_["results"] = std::move(json);
}

void Service::Run::heatmap() {
  std::optional<std::string> text = fields_.text("text");
  const std::string word = fields_.text("word").value_or("");
  fields_.refuse_the_rest();
  const EncodedImage image = encode_only();
  if (!text) {
    if (!model_.captioner)
      throw Error(ErrorCode::usage, "\"text\" must be given: this model writes none itself");
    tell(events_, {{"stage", "writing"}});
    CaptionOptions options;
    options.generation = model_.engine.default_generation();
    const CaptionRequest request{image, ""};
    text = service_.scheduler_.caption(*model_.captioner, {&request, 1}, {&options, 1}, ticket_)
               .front()
               .front()
               .text;
  }
  tell(events_, {{"stage", "scoring"}});
  std::vector<std::string> words;
  if (!word.empty()) words.push_back(word);
  const std::vector<HeatMap> maps = compute([&](const Context& context) {
    return model_.localizer->locate(image, *text, words, {}, context);
  });
  result_.update(findings::to_json(*text, word, maps.front()));
}

}  // namespace blip::server
