#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "apps/server/api.h"
#include "apps/server/base64.h"
#include "apps/server/fronts.h"

/// KServe's open inference protocol, version 2, with Triton's binary tensors.
namespace blip::server {
namespace {

constexpr std::size_t kMostPictures = 16;  // of a request; one after the other
constexpr const char* kVersion = "1";      // that every model has
constexpr const char* kHeadLength = "Inference-Header-Content-Length";

Json kserve_shape(const Failure& failure) {
  return {{"error", failure.message}};
}

Choice model_of(const Service& service, const Captures& captures) {
  if (captures.size() > 1 && captures[1] != kVersion)
    throw Error(ErrorCode::not_found, "there is no version " + in_quotes(captures[1]));
  return choose(service, percent_decode(captures[0], false), false);
}

Json tensor(const char* name) {
  return {{"name", name}, {"datatype", "BYTES"}, {"shape", {-1}}};
}

Json metadata(const Service& service, const Captures& captures) {
  const Choice choice = model_of(service, captures);
  Json inputs = Json::array({tensor("image")});
  if (choice.task == Task::caption) inputs.push_back(tensor("prompt"));
  if (choice.task == Task::vqa) inputs.push_back(tensor("question"));
  return {{"name", percent_decode(captures[0], false)},
          {"versions", {kVersion}},
          {"platform", "blip"},
          {"inputs", std::move(inputs)},
          {"outputs", Json::array({tensor("text")})}};
}

/// A number of bytes that stands in a request.
std::size_t size_in(const Json& value, const char* name, std::size_t most) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most) {
    throw Error(ErrorCode::usage, "\"" + std::string(name) + "\" must be a whole number, 0 to " +
                                      std::to_string(most) + ", but is " + in_quotes(value.dump()));
  }
  return value.get<std::size_t>();
}

bool flag_in(const Json& value, const char* name) {
  if (value.is_null()) return false;
  if (!value.is_boolean())
    throw Error(ErrorCode::usage, "\"" + std::string(name) + "\" must be true or false");
  return value.get<bool>();
}

std::size_t elements_of(const Json& sides) {
  if (!sides.is_array()) throw Error(ErrorCode::usage, "an input's \"shape\" must be an array");
  std::size_t elements = 1;
  for (const Json& side : sides) {
    elements *= size_in(side, "shape", kMostPictures);
    if (elements == 0 || elements > kMostPictures) {
      throw Error(ErrorCode::usage,
                  "an input must have 1 to " + std::to_string(kMostPictures) + " elements");
    }
  }
  return elements;
}

/// The elements of arrays in arrays, which the parser keeps from being deep.
void flatten(const Json& data, std::vector<std::string>& elements) {
  if (data.is_string()) {
    elements.push_back(data.get<std::string>());
  } else if (data.is_array()) {
    for (const Json& element : data) flatten(element, elements);
  } else {
    throw Error(ErrorCode::usage, "an input's \"data\" must be texts");
  }
}

/// Elements with their lengths before them, four bytes each, the lowest first.
std::vector<std::string> split_binary(std::string_view bytes) {
  std::vector<std::string> elements;
  while (!bytes.empty()) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4 && i < bytes.size(); ++i)
      length |= std::size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    if (bytes.size() < 4 || bytes.size() - 4 < length)
      throw Error(ErrorCode::usage, "a binary input ends in the middle of an element");
    elements.emplace_back(bytes.substr(4, length));
    bytes.remove_prefix(4 + length);
  }
  return elements;
}

std::string join_binary(const std::vector<std::string>& elements) {
  std::string bytes;
  for (const std::string& element : elements) {
    for (const int shift : {0, 8, 16, 24})
      bytes.push_back(static_cast<char>(element.size() >> shift & 0xff));
    bytes += element;
  }
  return bytes;
}

struct InferRequest {
  std::map<std::string, std::vector<std::string>> inputs;
  Json parameters;
  std::optional<std::string> id;
  bool binary = false;  ///< how the texts are wanted
};

/// Takes what `input` says it has of `binary`, or its "data".
std::vector<std::string> read_input(const Json& input, const std::string& name,
                                    std::string_view& binary) {
  const std::size_t count = elements_of(member(input, "shape"));
  if (member(input, "datatype") != "BYTES")
    throw Error(ErrorCode::usage, "the input " + in_quotes(name) + " must be of datatype BYTES");
  std::vector<std::string> elements;
  const Json& binary_size = member(member(input, "parameters"), "binary_data_size");
  if (!binary_size.is_null()) {
    const std::size_t size = size_in(binary_size, "binary_data_size", binary.size());
    elements = split_binary(binary.substr(0, size));
    binary.remove_prefix(size);
  } else {
    flatten(member(input, "data"), elements);
    if (name == "image")
      for (std::string& element : elements) element = decode_data_uri(element);
  }
  if (elements.size() != count) {
    throw Error(ErrorCode::usage, "the input " + in_quotes(name) + " must have " +
                                      std::to_string(count) + " elements, as its shape says, but " +
                                      std::to_string(elements.size()) + " came");
  }
  return elements;
}

void read_outputs(const Json& outputs, InferRequest& request) {
  if (outputs.is_null()) return;
  if (!outputs.is_array()) throw Error(ErrorCode::usage, "\"outputs\" must be an array");
  for (const Json& output : outputs) {
    if (member(output, "name") != "text")
      throw Error(ErrorCode::usage, "there is one output, \"text\"");
    const Json& binary = member(member(output, "parameters"), "binary_data");
    if (!binary.is_null()) request.binary = flag_in(binary, "binary_data");
  }
}

/// Where the JSON of a body ends and the binary tensors begin.
std::size_t head_length(const HttpRequest& request) {
  const std::string_view header = request.header(kHeadLength);
  if (header.empty()) return request.body.size();
  std::size_t length = 0;
  const char* const end = header.data() + header.size();
  const auto read = std::from_chars(header.data(), end, length);
  if (read.ec != std::errc() || read.ptr != end || length > request.body.size()) {
    throw Error(ErrorCode::usage, std::string(kHeadLength) +
                                      " must be the length of the JSON in the body, but is " +
                                      in_quotes(header));
  }
  return length;
}

InferRequest read_infer(const HttpRequest& http, const TextLimits& limits) {
  const std::size_t head = head_length(http);
  std::string_view binary = std::string_view(http.body).substr(head);
  Fields fields(parse_request_json(std::string_view(http.body).substr(0, head)), limits);
  InferRequest request;
  request.id = fields.text("id");
  request.parameters = fields.take("parameters");
  if (!request.parameters.is_null() && !request.parameters.is_object())
    throw Error(ErrorCode::usage, "\"parameters\" must be an object");
  request.binary = flag_in(member(request.parameters, "binary_data_output"), "binary_data_output");
  const Json inputs = fields.take("inputs");
  if (!inputs.is_array()) throw Error(ErrorCode::usage, "\"inputs\" must be an array");
  for (const Json& input : inputs) {
    if (!member(input, "name").is_string())
      throw Error(ErrorCode::usage, "an input must be an object with a \"name\"");
    const auto name = member(input, "name").get<std::string>();
    if (name != "image" && name != "prompt" && name != "question") {
      throw Error(
          ErrorCode::usage,
          "an input must be \"image\", \"prompt\" or \"question\", but is " + in_quotes(name));
    }
    if (!request.inputs.emplace(name, read_input(input, name, binary)).second)
      throw Error(ErrorCode::usage, "the input " + in_quotes(name) + " is there twice");
  }
  read_outputs(fields.take("outputs"), request);
  return request;
}

/// The element for the picture `i`: there may be one for all.
const std::string* text_for(const InferRequest& request, const char* name, std::size_t i,
                            std::size_t pictures) {
  const auto found = request.inputs.find(name);
  if (found == request.inputs.end()) return nullptr;
  if (found->second.size() != 1 && found->second.size() != pictures) {
    throw Error(ErrorCode::usage,
                "the input " + in_quotes(name) + " must have one element, or one for each picture");
  }
  return &found->second[found->second.size() == 1 ? 0 : i];
}

std::vector<std::string> infer(Service& service, const Choice& choice, InferRequest& request,
                               const Ticket& ticket) {
  std::vector<std::string>& images = request.inputs["image"];
  if (images.empty()) throw Error(ErrorCode::usage, "the input \"image\" must be given");
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < images.size(); ++i) {
    TaskInput input;
    input.fields = task_options(choice.task, request.parameters);
    if (choice.model) input.fields["model"] = *choice.model;
    // The task refuses a text that it does not take.
    for (const char* name : {"prompt", "question"}) {
      if (const std::string* text = text_for(request, name, i, images.size()))
        input.fields[name] = *text;
    }
    input.images.push_back(std::move(images[i]));
    const Json result = service.run(choice.task, std::move(input), ticket);
    texts.push_back(texts_of(choice.task, result)[0]["text"]);
  }
  return texts;
}

HttpResponse infer_response(const std::string& model, const InferRequest& request,
                            const std::vector<std::string>& texts) {
  Json output = {{"name", "text"}, {"datatype", "BYTES"}, {"shape", {texts.size()}}};
  std::string binary;
  if (request.binary) {
    binary = join_binary(texts);
    output["parameters"] = {{"binary_data_size", binary.size()}};
  } else {
    output["data"] = texts;
  }
  Json json = {{"model_name", model}, {"model_version", kVersion}};
  if (request.id) json["id"] = *request.id;
  json["outputs"] = Json::array({std::move(output)});
  HttpResponse response = json_response(json);
  if (request.binary) {
    response.headers = {{kHeadLength, std::to_string(response.body.size())}};
    response.content_type = "application/octet-stream";
    response.body += binary;
  }
  return response;
}

void answer_infer(Service& service, Exchange& exchange, const Captures& captures) {
  model_of(service, captures);
  InferRequest request = read_infer(exchange.request(), service.text_limits());
  exchange.request().body = {};
  const std::string name = percent_decode(captures[0], false);
  const Choice choice = choose(service, name, request.inputs.contains("question"));
  exchange.send(infer_response(name, request, infer(service, choice, request, exchange.ticket())));
}

HttpResponse health(const char* key, bool well) {
  HttpResponse response = json_response({{key, well}});
  if (!well) response.status = 503;
  return response;
}

}  // namespace

void add_kserve_routes(Router& router, Service& service, const std::atomic<bool>& stopping) {
  const auto at = [&](const char* pattern, Router::AtOnce answer) {
    router.at_once("GET", pattern, std::move(answer), kserve_shape);
  };
  at("/v2", [&service](const HttpRequest&, const Captures&) {
    return json_response({{"name", "blip"},
                          {"version", service.info()["version"]},
                          {"extensions", {"binary_tensor_data"}}});
  });
  at("/v2/health/live", [](const HttpRequest&, const Captures&) { return health("live", true); });
  at("/v2/health/ready",
     [&stopping](const HttpRequest&, const Captures&) { return health("ready", !stopping); });
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    at(model.c_str(), [&service](const HttpRequest&, const Captures& captures) {
      return json_response(metadata(service, captures));
    });
    at((model + "/ready").c_str(),
       [&service, &stopping](const HttpRequest&, const Captures& captures) {
         model_of(service, captures);
         return health("ready", !stopping);
       });
    router.work(
        "POST", (model + "/infer").c_str(),
        [&service](Exchange& exchange, const Captures& captures) {
          answer_infer(service, exchange, captures);
        },
        kserve_shape);
  }
}

}  // namespace blip::server
