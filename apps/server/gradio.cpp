#include "apps/server/gradio.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "apps/server/base64.h"

namespace blip::server::gradio {
namespace {

struct Parameter {
  const char* name;
  const char* component;   ///< "Image", "Textbox" or "Dropdown"
  const char* preset;      ///< what stands there when nothing is given; null: it must be given
  const char* choices[4];  ///< of a Dropdown
};

struct Function {
  Task task;
  std::vector<Parameter> parameters;
  const char* output;  ///< its label
};

const Parameter kImage = {"image", "Image", nullptr, {}};

/// In the order of their numbers.
const Function kFunctions[] = {
    {Task::caption, {kImage, {"prompt", "Textbox", "", {}}}, "caption"},
    {Task::describe,
     {kImage,
      {"recipe", "Dropdown", "classic", {"classic", "faithful"}},
      {"detail", "Dropdown", "high", {"high", "medium", "low", "off"}}},
     "description"},
    {Task::vqa, {kImage, {"question", "Textbox", nullptr, {}}}, "answer"},
    {Task::match, {kImage, {"text", "Textbox", nullptr, {}}}, "match"},
};

bool is_json(const Function& function) {
  return function.task == Task::match;
}

/// The JSON schema of a component's value.
Json schema(std::string_view component) {
  if (component == "Json") return {{"type", Json::object()}, {"description", "any valid json"}};
  if (component != "Image") return {{"type", "string"}};
  return {{"type", "object"},
          {"title", "ImageData"},
          {"properties",
           {{"path", {{"type", "string"}}},
            {"url", {{"type", "string"}}},
            {"orig_name", {{"type", "string"}}},
            {"meta",
             {{"type", "object"},
              {"properties", {{"_type", {{"const", "gradio.FileData"}, {"type", "string"}}}}}}}}}};
}

Json python_type(std::string_view component, const Parameter* parameter) {
  if (component == "Image") return {{"type", "filepath"}, {"description", ""}};
  if (component == "Json") return {{"type", "dict"}, {"description", "any valid json"}};
  if (component != "Dropdown") return {{"type", "str"}, {"description", ""}};
  std::string words;
  for (const char* choice : parameter->choices) {
    if (choice != nullptr) words += (words.empty() ? "'" : ", '") + std::string(choice) + "'";
  }
  return {{"type", "Literal[" + words + "]"}, {"description", ""}};
}

Json component(int id, const char* type, const char* label, std::string_view kind) {
  return {{"id", id},
          {"type", type},
          {"props", {{"label", label}, {"name", type}, {"visible", true}}},
          {"skip_api", false},
          {"component_class_id", type},
          {"api_info", schema(kind)}};
}

const char* type_of(std::string_view kind) {
  return kind == "Image" ? "image" : kind == "Dropdown" ? "dropdown" : "textbox";
}

/// The bytes of a picture that a call names: one that was uploaded, or a data URI. Nothing else is
/// looked up anywhere.
std::string picture(const Json& value, Uploads& uploads) {
  const Json* name = &value;
  for (const char* key : {"path", "url"}) {
    if (const auto found = value.find(key); found != value.end() && found->is_string()) {
      name = &*found;
      break;
    }
  }
  if (!name->is_string()) {
    throw Error(ErrorCode::usage,
                "\"image\" must be a file: {\"path\": what the upload answered}, or a data URI");
  }
  const auto& text = name->get_ref<const std::string&>();
  if (text.starts_with("data:") || text.find("://") != std::string::npos)
    return decode_data_uri(text);
  std::optional<std::string> bytes = uploads.take(text);
  if (!bytes) {
    throw Error(ErrorCode::not_found, "there is no uploaded file " + in_quotes(text) +
                                          ": an upload serves one call, and is kept for minutes");
  }
  return std::move(*bytes);
}

}  // namespace

bool is_function(const Service& service, std::size_t function) {
  return function < std::size(kFunctions) &&
         service.model_for(kFunctions[function].task) != nullptr;
}

std::optional<std::size_t> function_named(const Service& service, std::string_view name) {
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    if (is_function(service, i) && server::name(kFunctions[i].task) == name) return i;
  }
  return {};
}

Json config(const Service& service, std::size_t file_bytes) {
  Json components = Json::array();
  Json dependencies = Json::array();
  int id = 1;
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    if (!is_function(service, i)) continue;
    const Function& function = kFunctions[i];
    Json inputs = Json::array();
    for (const Parameter& parameter : function.parameters) {
      inputs.push_back(id);
      components.push_back(
          component(id++, type_of(parameter.component), parameter.name, parameter.component));
    }
    const bool json = is_json(function);
    components.push_back(
        component(id, json ? "json" : "textbox", function.output, json ? "Json" : "Textbox"));
    dependencies.push_back({{"id", i},
                            {"api_name", name(function.task)},
                            {"api_visibility", "public"},
                            {"show_api", true},
                            {"targets", Json::array()},
                            {"inputs", std::move(inputs)},
                            {"outputs", Json::array({id++})},
                            {"backend_fn", true},
                            {"queue", true},
                            {"batch", false},
                            {"cancels", Json::array()},
                            {"types", {{"generator", false}, {"cancel", false}}}});
  }
  // The clients ask for the protocol's version; no other part of Gradio is here.
  return {{"version", "5.0.0"},
          {"protocol", "sse_v3"},
          {"api_prefix", "/gradio_api"},
          {"mode", "interface"},
          {"title", "blip"},
          {"app_id", "blip"},
          {"enable_queue", true},
          {"connect_heartbeat", false},
          {"analytics_enabled", false},
          {"run_history", false},
          {"is_space", false},
          {"space_id", nullptr},
          {"max_file_size", file_bytes},
          {"components", std::move(components)},
          {"dependencies", std::move(dependencies)}};
}

Json info(const Service& service) {
  Json named = Json::object();
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    if (!is_function(service, i)) continue;
    const Function& function = kFunctions[i];
    Json parameters = Json::array();
    for (const Parameter& parameter : function.parameters) {
      Json json = {{"label", parameter.name},
                   {"parameter_name", parameter.name},
                   {"parameter_has_default", parameter.preset != nullptr},
                   {"parameter_default", nullptr},
                   {"type", schema(parameter.component)},
                   {"python_type", python_type(parameter.component, &parameter)},
                   {"component", parameter.component},
                   {"example_input", nullptr}};
      if (parameter.preset != nullptr) json["parameter_default"] = parameter.preset;
      parameters.push_back(std::move(json));
    }
    const char* kind = is_json(function) ? "Json" : "Textbox";
    Json returned = {{"label", function.output},
                     {"type", schema(kind)},
                     {"python_type", python_type(kind, nullptr)},
                     {"component", kind}};
    named["/" + std::string(name(function.task))] = {{"parameters", std::move(parameters)},
                                                     {"returns", Json::array({returned})},
                                                     {"api_visibility", "public"},
                                                     {"show_api", true}};
  }
  return {{"named_endpoints", std::move(named)}, {"unnamed_endpoints", Json::object()}};
}

Json call(Service& service, std::size_t function, Json data, Uploads& uploads, const Ticket& ticket,
          const Events& events) {
  const auto& [task, parameters, output] = kFunctions[function];
  if (data.size() > parameters.size()) {
    throw Error(ErrorCode::usage, std::string(name(task)) + " takes " +
                                      std::to_string(parameters.size()) + " values, but got " +
                                      std::to_string(data.size()));
  }
  TaskInput input;
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (std::string_view(parameters[i].component) == "Image") {
      input.images.push_back(picture(data[i], uploads));
    } else {
      input.fields[parameters[i].name] = std::move(data[i]);
    }
  }
  data = Json();
  const Json result = service.run(task, std::move(input), ticket, events);
  if (task == Task::match) return Json::array({result["matches"][0]});
  return Json::array({texts_of(task, result)[0]["text"]});
}

}  // namespace blip::server::gradio
