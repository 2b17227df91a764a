#include <algorithm>
#include <cstdint>
#include <ctime>
#include <string>
#include <utility>

#include "apps/server/api.h"
#include "apps/server/base64.h"
#include "apps/server/fronts.h"

namespace blip::server {
namespace {

constexpr int kMostChoices = 16;
constexpr const char* kOwner = "blip";

Json openai_shape(const Failure& failure) {
  const char* type = failure.status == 401   ? "authentication_error"
                     : failure.status == 429 ? "rate_limit_error"
                     : failure.status >= 500 ? "server_error"
                                             : "invalid_request_error";
  return {{"error",
           {{"message", failure.message},
            {"type", type},
            {"param", nullptr},
            {"code", failure.status == 404 ? "model_not_found" : failure.code}}}};
}

/// What the users of a conversation said last.
struct Said {
  std::string text;   ///< of the newest message
  std::string image;  ///< of the newest message that has one: its URL
};

[[noreturn]] void malformed(const std::string& what) {
  throw Error(ErrorCode::usage, "\"messages\" must " + what);
}

std::string text_in(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string())
    malformed("have a text as \"" + std::string(name) + "\" where there is such a part");
  return found->get<std::string>();
}

std::string image_url(const Json& part) {
  const auto found = part.find("image_url");
  if (found != part.end() && found->is_object()) return text_in(*found, "url");
  return text_in(part, "image_url");
}

void read_parts(const Json& parts, Said& said) {
  std::string image;
  for (const Json& part : parts) {
    if (!part.is_object()) malformed("have objects as parts of a content");
    const std::string type = text_in(part, "type");
    if (type == "text") {
      said.text += (said.text.empty() ? "" : "\n") + text_in(part, "text");
    } else if (type == "image_url") {
      if (!image.empty()) malformed("have at most one picture in each message");
      image = image_url(part);
    } else {
      malformed("have parts of type \"text\" and \"image_url\" alone, but there is " +
                in_quotes(type));
    }
  }
  if (!image.empty()) said.image = std::move(image);
}

Said read_messages(const Json& messages) {
  if (!messages.is_array()) malformed("be an array");
  Said said;
  for (const Json& message : messages) {
    if (!message.is_object()) malformed("hold objects");
    if (text_in(message, "role") != "user") continue;
    said.text.clear();
    const auto content = message.find("content");
    if (content != message.end() && content->is_string()) {
      said.text = content->get<std::string>();
    } else if (content != message.end() && content->is_array()) {
      read_parts(*content, said);
    } else {
      malformed("have a text or an array of parts as the \"content\" of a user");
    }
  }
  if (said.image.empty()) {
    malformed(
        "have a picture: a part {\"type\": \"image_url\", \"image_url\": {\"url\": "
        "\"data:image/png;base64,...\"}} of a user's message");
  }
  return said;
}

bool is_question(std::string_view text) {
  constexpr std::string_view kWideMark = "\uff1f";
  const std::size_t end = text.find_last_not_of(" \t\r\n\"'");
  text = text.substr(0, end == std::string_view::npos ? 0 : end + 1);
  return text.ends_with('?') || text.ends_with(kWideMark);
}

struct ChatRequest {
  Choice choice;
  TaskInput input;
  std::string text;  ///< that the model reads
  bool stream = false;
  bool usage = false;  ///< at the end of a stream
};

/// OpenAI's options of the generation by transformers' names. A temperature, or a top_p, means that
/// tokens are drawn; 0, that they are not. Neither leaves it to the checkpoint.
void read_options(Fields& fields, Json& options, std::size_t most_new_tokens) {
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    // Clients that know other models ask for thousands.
    if (const auto most = fields.integer(name, 1, INT32_MAX))
      options["max_new_tokens"] = std::min(static_cast<std::size_t>(*most), most_new_tokens);
  }
  const auto temperature = fields.number("temperature", 0, 2);
  const auto top_p = fields.number("top_p", 0, 1);
  options.erase("temperature");
  options.erase("top_p");
  if (temperature || top_p) {
    const bool draw = temperature.value_or(1) > 0 && top_p.value_or(1) > 0;
    options["do_sample"] = draw;
    if (draw) {
      options["temperature"] = temperature.value_or(1);
      options["top_p"] = top_p.value_or(1);
      if (!options.contains("num_beams")) options["num_beams"] = 1;
    }
  }
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX))
    options["seed"] = static_cast<std::uint64_t>(*seed);
}

void add_choices(Json& options, Task task, std::int64_t n) {
  if (n == 1) return;
  if (task == Task::describe)
    throw Error(ErrorCode::usage, "\"n\" must be 1: there is one description of a picture");
  if (task == Task::vqa) {
    options["num_answers"] = n;
    return;
  }
  options["num_return_sequences"] = n;
  if (options.value("do_sample", Json(false)) != true) options["num_beams"] = n;
}

/// The fields of the task, of what is asked for.
void read_task(const Service& service, Fields& fields, const std::string& question,
               ChatRequest& chat) {
  const Choice& choice = chat.choice;
  Json& task = chat.input.fields;
  const std::int64_t n = fields.integer("n", 1, kMostChoices).value_or(1);
  if (choice.model) task["model"] = *choice.model;
  task.update(task_options(choice.task, fields.rest()));
  if (choice.task != Task::describe) {
    if (choice.task == Task::vqa) task["question"] = chat.text = question;
    if (choice.task == Task::caption)
      task["prompt"] = chat.text = fields.text("prompt").value_or("");
    const std::string& begin = choice.task == Task::vqa ? std::string() : chat.text;
    read_options(fields, task, choice.model ? service.most_new_tokens(*choice.model, begin) : 0);
  }
  add_choices(task, choice.task, n);
}

ChatRequest read_chat(const Service& service, std::string_view body) {
  Fields fields(parse_request_json(body), service.text_limits());
  const Said said = read_messages(fields.take("messages"));
  ChatRequest chat;
  chat.choice = choose(service, fields.text("model").value_or(""), is_question(said.text));
  chat.stream = fields.flag("stream").value_or(false);
  if (const Json options = fields.take("stream_options"); !options.is_null()) {
    chat.usage = Fields(options, service.text_limits()).flag("include_usage").value_or(false);
  }
  chat.input.images.push_back(decode_data_uri(said.image));
  read_task(service, fields, said.text, chat);
  return chat;
}

/// What is the same in all that is said of one completion.
class Completion {
 public:
  Completion(const Service& service, const ChatRequest& chat)
      : service_(service),
        chat_(chat),
        id_("chatcmpl-" + random_key()),
        created_(std::time(nullptr)) {}

  Json object(const char* kind) const {
    return {{"id", id_},
            {"object", kind},
            {"created", created_},
            {"model", chat_.choice.model.value_or(kOwner)}};
  }

  Json whole(const Json& texts) const {
    Json choices = Json::array();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      Json message = {{"role", "assistant"}, {"content", texts[i]["text"]}, {"refusal", nullptr}};
      choices.push_back({{"index", i},
                         {"message", std::move(message)},
                         {"logprobs", nullptr},
                         {"finish_reason", finish_reason(texts[i])}});
    }
    Json json = object("chat.completion");
    json["choices"] = std::move(choices);
    json["usage"] = usage(texts);
    return json;
  }

  std::string chunk(std::size_t index, Json delta, Json finish_reason = nullptr) const {
    Json json = object("chat.completion.chunk");
    json["choices"] = Json::array({{{"index", index},
                                    {"delta", std::move(delta)},
                                    {"logprobs", nullptr},
                                    {"finish_reason", std::move(finish_reason)}}});
    return "data: " + dump(json) + "\n\n";
  }

  std::string usage_chunk(const Json& texts) const {
    Json json = object("chat.completion.chunk");
    json["choices"] = Json::array();
    json["usage"] = usage(texts);
    return "data: " + dump(json) + "\n\n";
  }

  static const char* finish_reason(const Json& text) {
    return text.value("finished", true) ? "stop" : "length";
  }

 private:
  Json usage(const Json& texts) const {
    const std::string model = chat_.choice.model.value_or("");
    const std::size_t prompt = service_.count_tokens(model, chat_.text);
    std::size_t written = 0;
    for (const Json& text : texts) {
      const auto tokens = text.find("tokens");
      written += tokens != text.end()
                     ? tokens->size()
                     : service_.count_tokens(model, text["text"].get<std::string>());
    }
    return {{"prompt_tokens", prompt},
            {"completion_tokens", written},
            {"total_tokens", prompt + written}};
  }

  const Service& service_;
  const ChatRequest& chat_;
  std::string id_;
  std::time_t created_;
};

/// Sends a text that only grows as it grows, and others when they are done. The stream begins when
/// the request and its picture were found good, so that what is wrong with them has its status.
void stream_chat(Service& service, ChatRequest& chat, Exchange& exchange) {
  const Completion completion(service, chat);
  std::string sent;
  bool begun = false;
  const Events events = [&](const char* event, const Json& data) {
    if (!begun && data.value("stage", "") == "encoding") {
      exchange.begin(event_stream());
      exchange.write(completion.chunk(0, {{"role", "assistant"}, {"content", ""}}));
      begun = true;
    }
    if (event != std::string_view("partial") || !data.value("settled", false)) return;
    const std::string text = data["text"];
    if (exchange.congested() || text.size() <= sent.size()) return;
    exchange.write(completion.chunk(0, {{"content", text.substr(sent.size())}}));
    sent = text;
  };
  const Task task = chat.choice.task;
  const Json texts =
      texts_of(task, service.run(task, std::move(chat.input), exchange.ticket(), events));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i]["text"];
    const std::size_t known = i == 0 ? std::min(sent.size(), text.size()) : 0;
    Json delta = {{"content", text.substr(known)}};
    if (i > 0) delta["role"] = "assistant";
    if (known < text.size() || i > 0) exchange.write(completion.chunk(i, std::move(delta)));
    exchange.write(completion.chunk(i, Json::object(), Completion::finish_reason(texts[i])));
  }
  if (chat.usage) exchange.write(completion.usage_chunk(texts));
  exchange.write("data: [DONE]\n\n");
}

void answer_chat(Service& service, Exchange& exchange) {
  ChatRequest chat = read_chat(service, std::exchange(exchange.request().body, {}));
  if (chat.stream) return stream_chat(service, chat, exchange);
  const Task task = chat.choice.task;
  const Json texts = texts_of(task, service.run(task, std::move(chat.input), exchange.ticket()));
  exchange.send(json_response(Completion(service, chat).whole(texts)));
}

Json model_object(const std::string& id, std::time_t created) {
  return {{"id", id}, {"object", "model"}, {"created", created}, {"owned_by", kOwner}};
}

/// Each model that writes, by itself and with each task that it does.
Json model_list(const Service& service, std::time_t created) {
  Json list = Json::array();
  const Json info = service.info();
  for (const Json& model : info["models"]) {
    const std::string id = model["id"];
    if (!service.can(id, Task::caption) && !service.can(id, Task::vqa)) continue;
    list.push_back(model_object(id, created));
    for (const Task task : kWritingTasks) {
      if (service.can(id, task)) list.push_back(model_object(id + ":" + name(task), created));
    }
  }
  return list;
}

}  // namespace

void add_openai_routes(Router& router, Service& service) {
  const std::time_t created = std::time(nullptr);
  router.work(
      "POST", "/v1/chat/completions",
      [&service](Exchange& exchange, const Captures&) { answer_chat(service, exchange); },
      openai_shape);
  router.at_once(
      "GET", "/v1/models",
      [&service, created](const HttpRequest&, const Captures&) {
        return json_response({{"object", "list"}, {"data", model_list(service, created)}});
      },
      openai_shape);
  router.at_once(
      "GET", "/v1/models/{model}",
      [&service, created](const HttpRequest&, const Captures& captures) {
        const std::string id = percent_decode(captures[0], false);
        const Choice choice = choose(service, id, false);
        if (!choice.model || !service.can(*choice.model, choice.task))
          throw Error(ErrorCode::not_found, "there is no model " + in_quotes(id));
        return json_response(model_object(id, created));
      },
      openai_shape);
}

}  // namespace blip::server
