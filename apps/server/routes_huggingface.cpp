#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "apps/server/api.h"
#include "apps/server/fronts.h"

namespace blip::server {
namespace {

constexpr int kMostAnswers = 16;

Json huggingface_shape(const Failure& failure) {
  return {{"error", failure.message}};
}

/// What a path asks for, beside what its body says.
struct Target {
  std::string model;
  std::string task;  ///< as Hugging Face calls it; may be empty
};

/// Of ".../models/[ORG/]ID[/pipeline/TASK]" and ".../pipeline/TASK[/[ORG/]ID]". Whose model it is
/// says nothing here: a loaded model's id is its folder's name.
Target target_of(std::string_view path) {
  Target target;
  std::vector<std::string> segments;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) segments.push_back(percent_decode(path.substr(0, slash), false));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  const auto pipeline = std::find(segments.begin(), segments.end(), "pipeline");
  if (pipeline != segments.end() && pipeline + 1 != segments.end()) {
    target.task = pipeline[1];
    segments.erase(pipeline, pipeline + 2);
  }
  if (!segments.empty()) target.model = segments.back();
  return target;
}

/// What a body asks.
struct Asked {
  TaskInput input;
  std::optional<std::string> question;
  Json parameters = Json::object();
};

bool is_json(const HttpRequest& request) {
  const std::string_view type = request.header("Content-Type");
  if (is_of_type(type, "application/json")) return true;
  // What curl -d says of any body, and what it says of bytes too.
  return is_of_type(type, "application/x-www-form-urlencoded") && request.body.starts_with('{');
}

/// {"inputs": IMAGE or {"image", "question"}, "question", "parameters"}, or a picture's bytes.
Asked read_body(HttpRequest& request, const TextLimits& limits) {
  Asked asked;
  if (!is_json(request)) {
    if (request.body.empty())
      throw Error(ErrorCode::usage, "the request must have a picture, but is empty");
    asked.input.images.push_back(std::exchange(request.body, {}));
    return asked;
  }
  Fields fields(parse_request_json(std::exchange(request.body, {})), limits);
  const Json inputs = fields.take("inputs");
  asked.question = fields.text("question");
  if (inputs.is_object()) {
    Fields both(inputs, limits);
    asked.input.images.push_back(picture_in(both.take("image"), "image"));
    if (const auto text = both.text("question")) asked.question = text;
  } else {
    asked.input.images.push_back(picture_in(inputs, "inputs"));
  }
  const Json parameters = fields.take("parameters");
  if (parameters.is_null()) return asked;
  if (!parameters.is_object()) throw Error(ErrorCode::usage, "\"parameters\" must be an object");
  asked.parameters = parameters;
  return asked;
}

Json answer_question(Service& service, Asked asked, const Choice& choice, const Ticket& ticket) {
  Fields parameters(std::move(asked.parameters), service.text_limits());
  Json& fields = asked.input.fields;
  fields["question"] = *asked.question;
  if (const auto most = parameters.integer("top_k", 1, kMostAnswers)) fields["num_answers"] = *most;
  if (choice.model) fields["model"] = *choice.model;
  const Json result = service.run(Task::vqa, std::move(asked.input), ticket);
  Json answers = Json::array();
  for (const Json& answer : texts_of(Task::vqa, result))
    answers.push_back({{"answer", answer["text"]}, {"score", answer["probability"]}});
  return answers;
}

Json image_to_text(Service& service, Asked asked, const Choice& choice, const Ticket& ticket) {
  Json& fields = asked.input.fields;
  if (choice.task == Task::caption) {
    fields = generation_options(asked.parameters);
    Fields parameters(std::move(asked.parameters), service.text_limits());
    for (const char* name : {"generation_parameters", "generate_kwargs"}) {
      if (const Json more = parameters.take(name); !more.is_null())
        fields.update(generation_options(Fields(more, service.text_limits()).rest()));
    }
    fields["prompt"] = parameters.take("prompt");
  }
  if (choice.model) fields["model"] = *choice.model;
  const Json result = service.run(choice.task, std::move(asked.input), ticket);
  Json texts = Json::array();
  for (const Json& text : texts_of(choice.task, result))
    texts.push_back({{"generated_text", text["text"]}});
  return texts;
}

void infer(Service& service, Exchange& exchange) {
  const Target target = target_of(exchange.request().path);
  Asked asked = read_body(exchange.request(), service.text_limits());
  std::string name = target.model;
  if (target.task == "visual-question-answering") {
    if (!asked.question) throw Error(ErrorCode::usage, "\"question\" must be given");
  } else if (target.task == "image-to-text") {
    asked.question.reset();
  } else if (!target.task.empty()) {
    throw Error(ErrorCode::not_found, "there is no pipeline " + in_quotes(target.task));
  }
  if (asked.question && name.find(':') == std::string::npos) name += ":vqa";
  const Choice choice = choose(service, name, asked.question.has_value());
  exchange.send(
      json_response(choice.task == Task::vqa && asked.question
                        ? answer_question(service, std::move(asked), choice, exchange.ticket())
                        : image_to_text(service, std::move(asked), choice, exchange.ticket())));
}

}  // namespace

void add_huggingface_routes(Router& router, Service& service) {
  const auto add = [&](const std::string& pattern) {
    router.work(
        "POST", pattern.c_str(),
        [&service](Exchange& exchange, const Captures&) { infer(service, exchange); },
        huggingface_shape);
  };
  add("/");
  add("/pipeline/{task}");
  for (const std::string model : {"{model}", "{organization}/{model}"}) {
    add("/pipeline/{task}/" + model);
    for (const std::string prefix : {"/models/", "/hf-inference/models/"}) {
      add(prefix + model);
      add(prefix + model + "/pipeline/{task}");
    }
  }
}

}  // namespace blip::server
