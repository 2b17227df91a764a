#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/parameters.h"
#include "blip/ops/isa.h"

namespace blip::cli {
namespace {

struct InspectFlags {
  ModelFlags model;
  Format format = Format::text;
};

/// Parameters and element types of the tensors whose names begin alike ("vision_model").
struct Part {
  std::size_t tensors = 0;
  std::size_t parameters = 0;
  std::map<std::string_view, std::size_t> types;
};

std::map<std::string, Part> parts_of(const TensorStore& tensors) {
  std::map<std::string, Part> parts;
  for (const auto& [tensor_name, tensor] : tensors.tensors()) {
    Part& part = parts[tensor_name.substr(0, tensor_name.find('.'))];
    const std::size_t count = element_count(tensor.shape);
    ++part.tensors;
    part.parameters += count;
    part.types[name(tensor.dtype)] += count;
  }
  return parts;
}

/// The decimal number that was meant by a float, such as 1e-6 for 9.99999997e-7.
double shortest(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", double{value});
  return std::strtod(text, nullptr);
}

Json describe(const Checkpoint& checkpoint) {
  const VisionConfig& vision = checkpoint.config.vision;
  const TextConfig& text = checkpoint.config.text;
  Json json;
  json["architecture"] = name(checkpoint.config.architecture);
  json["layout"] = checkpoint.family == CheckpointFamily::authors ? "authors" : "transformers";
  json["vision"] = {{"image_size", vision.image_size},
                    {"patch_size", vision.patch_size},
                    {"layers", vision.num_hidden_layers},
                    {"width", vision.hidden_size},
                    {"heads", vision.num_attention_heads},
                    {"mlp_width", vision.intermediate_size},
                    {"layer_norm_eps", shortest(vision.layer_norm_eps)}};
  json["text"] = {{"vocabulary", text.vocab_size},     {"positions", text.max_position_embeddings},
                  {"layers", text.num_hidden_layers},  {"width", text.hidden_size},
                  {"heads", text.num_attention_heads}, {"mlp_width", text.intermediate_size},
                  {"bos_token_id", text.bos_token_id}, {"sep_token_id", text.sep_token_id}};
  std::size_t total = 0;
  json["parts"] = Json::object();
  for (const auto& [part_name, part] : parts_of(checkpoint.tensors)) {
    Json types = Json::object();
    for (const auto& [type, count] : part.types) types[std::string(type)] = count;
    json["parts"][part_name] = {
        {"tensors", part.tensors}, {"parameters", part.parameters}, {"types", types}};
    total += part.parameters;
  }
  json["parameters"] = total;
  Json isas = Json::array();
  for (const Isa isa : supported_isas()) isas.push_back(name(isa));
  json["cpu"] = {{"features", cpu_features()},
                 {"kernels", isas},
                 {"in_use", name(active_isa())},
                 {"precision", name(choose_precision(checkpoint.tensors, {}))},
                 {"cores", available_cores()}};
  return json;
}

/// A name from a file, safe to show on a terminal.
std::string printable(const std::string& text) {
  const std::string quoted = in_quotes(text);
  return quoted.size() == text.size() + 2 ? text : quoted;
}

void print_text(const Json& json) {
  const auto line = [](const char* label, const std::string& value) {
    std::printf("%-14s %s\n", label, value.c_str());
  };
  const auto fields = [](const Json& object) {
    std::string out;
    for (const auto& [key, value] : object.items()) {
      out += (out.empty() ? "" : ", ") + key + " " + value.dump();
    }
    return out;
  };
  line("architecture", json["architecture"].get<std::string>());
  line("layout", json["layout"].get<std::string>());
  line("vision", fields(json["vision"]));
  line("text", fields(json["text"]));
  for (const auto& [part_name, part] : json["parts"].items()) {
    std::string types;
    for (const auto& [type, count] : part["types"].items()) types += " " + type;
    std::printf("  %-22s %12zu parameters in %4zu tensors,%s\n", printable(part_name).c_str(),
                part["parameters"].get<std::size_t>(), part["tensors"].get<std::size_t>(),
                types.c_str());
  }
  std::printf("  %-22s %12zu parameters\n", "in all", json["parameters"].get<std::size_t>());
  const auto list = [](const Json& array) {
    std::string out;
    for (const Json& item : array) out += (out.empty() ? "" : " ") + item.get<std::string>();
    return out;
  };
  line("cpu", list(json["cpu"]["features"]) + ", " + json["cpu"]["cores"].dump() + " cores");
  line("kernels", list(json["cpu"]["kernels"]) +
                      "; in use: " + json["cpu"]["in_use"].get<std::string>() + ", f32");
}

void run(const InspectFlags& flags) {
  const Checkpoint checkpoint =
      open_checkpoint(flags.model.path(), {.vision_heads = flags.model.options.vision_heads});
  const Json json = describe(checkpoint);
  if (flags.format == Format::text) {
    print_text(json);
  } else {
    std::printf("%s\n", dump(json, flags.format == Format::json ? 2 : -1).c_str());
  }
}

}  // namespace

void add_inspect_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a checkpoint is and what runs on this CPU");
  const auto flags = std::make_shared<InspectFlags>();
  command
      ->add_option("MODEL,-m,--model", flags->model.model,
                   "Hugging Face folder or .pth (default: the model that comes with the program)")
      ->envname("BLIP_MODEL");
  command
      ->add_option("--vision-heads", flags->model.options.vision_heads,
                   "attention heads of a .pth's vision encoder (default: its width / 64)")
      ->check(CLI::Range(1, 1024));
  add_format_flag(*command, flags->format);
  command->callback([flags] { run(*flags); });
}

}  // namespace blip::cli
