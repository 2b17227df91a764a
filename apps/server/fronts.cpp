#include "apps/server/fronts.h"

#include <cstdint>
#include <random>

#include "apps/server/base64.h"
#include "blip/base/error.h"
#include "blip/generation/generation_config.h"

namespace blip::server {

Choice choose(const Service& service, std::string_view name, bool question) {
  Choice choice{Task::caption, std::string(name)};
  bool said = false;
  const std::size_t colon = name.rfind(':');
  if (colon != std::string_view::npos && !service.knows_model(*choice.model)) {
    for (const Task task : kWritingTasks) {
      if (name.substr(colon + 1) != server::name(task)) continue;
      choice = {task, std::string(name.substr(0, colon))};
      said = true;
    }
  }
  const bool known = service.knows_model(*choice.model);
  if (!known && !choice.model->empty() && *choice.model != "blip")
    throw Error(ErrorCode::not_found, "there is no model " + in_quotes(name));
  if (!known) choice.model.reset();
  const auto can = [&](Task task) {
    return known ? service.can(*choice.model, task) : service.model_for(task) != nullptr;
  };
  if (!said && can(Task::vqa) && (question || !can(Task::caption))) choice.task = Task::vqa;
  if (const std::string* any = service.model_for(choice.task); !known && any != nullptr)
    choice.model = *any;
  return choice;
}

Json generation_options(const Json& json) {
  Json options = Json::object();
  const GenerationConfig names;
  for_each_field(names, [&](const char* name, const auto&, const char*) {
    const auto found = json.find(name);
    if (found != json.end() && !found->is_null()) options[name] = *found;
  });
  return options;
}

Json task_options(Task task, const Json& json) {
  if (task != Task::describe) return generation_options(json);
  Json options = Json::object();
  for (const char* name : {"recipe", "detail", "multi_round", "seed"})
    options[name] = member(json, name);
  return options;
}

const Json& member(const Json& json, const char* name) {
  static const Json kNone;
  const auto found = json.find(name);
  return found == json.end() ? kNone : *found;
}

std::string picture_in(const Json& value, const char* name) {
  if (!value.is_string()) {
    throw Error(ErrorCode::usage,
                "\"" + std::string(name) + "\" must be a picture in base64 or as a data URI");
  }
  return decode_data_uri(value.get_ref<const std::string&>());
}

Json texts_of(Task task, const Json& result) {
  if (task == Task::caption) return result["captions"];
  if (task == Task::vqa) return result["questions"][0]["answers"];
  Json text = Json::object();
  text["text"] = result["text"];
  return Json::array({text});
}

std::string random_key() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::random_device random;
  std::string key;
  for (int word = 0; word < 4; ++word) {
    std::uint32_t bits = random();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) key.push_back(kDigits[bits & 15]);
  }
  return key;
}

}  // namespace blip::server
