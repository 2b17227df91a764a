#include "blip/checkpoint/config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr std::string_view kWhere = "config.json";

[[noreturn]] void fail(std::string_view where, const std::string& what) {
  throw Error(ErrorCode::bad_model, std::string(where) + ": " + what);
}

/// Classes of config.json's "architectures": transformers', and the authors' where it has none.
struct ModelClass {
  std::string_view name;
  Architecture architecture;
};
constexpr ModelClass kClasses[] = {
    {"BlipForConditionalGeneration", Architecture::captioning},
    {"BlipForQuestionAnswering", Architecture::question_answering},
    {"BlipForImageTextRetrieval", Architecture::retrieval},
    {"BlipModel", Architecture::dual_encoder},
    {"blip_nlvr", Architecture::nlvr},
    {"blip_pretrain", Architecture::pretrain},
};

/// An object of config.json, read key by key. `path` is its place, such as "text_config.".
class Section {
 public:
  Section(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json.is_null() && !json.is_object()) fail(kWhere, path_ + " is not an object");
  }

  void read(const char* key, int& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    // Sizes of pictures and patches may be written as [height, width].
    if (value->is_array() && value->size() == 2 && (*value)[0] == (*value)[1]) value = &(*value)[0];
    constexpr std::int64_t kMax = std::numeric_limits<int>::max();
    if (!value->is_number_integer() || *value < 0 || *value > kMax) {
      fail(kWhere, in_quotes(path_ + key) + " is " + in_quotes(value->dump()) +
                       "; expected a whole number");
    }
    out = value->get<int>();
  }

  void read(const char* key, float& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) {
      fail(kWhere,
           in_quotes(path_ + key) + " is " + in_quotes(value->dump()) + "; expected a number");
    }
    out = value->get<float>();
  }

  void require_gelu() const {
    const Json* value = find("hidden_act");
    if (value == nullptr || *value == "gelu") return;
    throw Error(ErrorCode::unsupported,
                std::string(kWhere) + ": " + in_quotes(path_ + "hidden_act") + " is " +
                    in_quotes(value->dump()) + "; this program runs \"gelu\"");
  }

 private:
  /// nullptr when the key is missing or null, which mean the same.
  const Json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  const Json& json_;
  std::string path_;
};

const Json& member(const Json& json, const char* key) {
  static const Json kNull;
  const auto found = json.find(key);
  return found == json.end() ? kNull : *found;
}

std::string text_or_dump(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json.dump();
}

void require_blip(const Json& json) {
  const Json& type = member(json, "model_type");
  if (type == "blip") return;
  if (type.is_null()) fail(kWhere, "\"model_type\" is missing; expected \"blip\"");
  throw Error(ErrorCode::unsupported, std::string(kWhere) + " describes a model of type " +
                                          in_quotes(text_or_dump(type)) +
                                          "; this program runs \"blip\"");
}

Architecture read_architecture(const Json& json) {
  const Json& list = member(json, "architectures");
  if (!list.is_array() || list.empty()) {
    fail(kWhere,
         "\"architectures\" is missing; expected a class such as "
         "\"BlipForConditionalGeneration\"");
  }
  const std::string found = text_or_dump(list[0]);
  for (const ModelClass& known : kClasses) {
    if (known.name == found) return known.architecture;
  }
  throw Error(ErrorCode::unsupported,
              std::string(kWhere) + " describes the class " + in_quotes(found) +
                  "; this program runs BlipForConditionalGeneration, BlipForQuestionAnswering, "
                  "BlipForImageTextRetrieval and BlipModel");
}

VisionConfig read_vision(const Json& json) {
  const Section section(json, "vision_config.");
  section.require_gelu();
  VisionConfig vision;
  section.read("hidden_size", vision.hidden_size);
  section.read("intermediate_size", vision.intermediate_size);
  section.read("num_hidden_layers", vision.num_hidden_layers);
  section.read("num_attention_heads", vision.num_attention_heads);
  section.read("image_size", vision.image_size);
  section.read("patch_size", vision.patch_size);
  section.read("layer_norm_eps", vision.layer_norm_eps);
  return vision;
}

TextConfig read_text(const Json& json) {
  const Section section(json, "text_config.");
  section.require_gelu();
  TextConfig text;
  section.read("vocab_size", text.vocab_size);
  section.read("hidden_size", text.hidden_size);
  section.read("intermediate_size", text.intermediate_size);
  section.read("num_hidden_layers", text.num_hidden_layers);
  section.read("num_attention_heads", text.num_attention_heads);
  section.read("max_position_embeddings", text.max_position_embeddings);
  section.read("layer_norm_eps", text.layer_norm_eps);
  section.read("bos_token_id", text.bos_token_id);
  section.read("pad_token_id", text.pad_token_id);
  section.read("sep_token_id", text.sep_token_id);
  return text;
}

/// A number with the range that it must lie in.
struct Bound {
  const char* name;
  int value;
  int min;
  int max;
};

void check_ranges(const BlipConfig& config, std::string_view where) {
  const VisionConfig& vision = config.vision;
  const TextConfig& text = config.text;
  const bool generates =
      config.writes_captions() || config.architecture == Architecture::question_answering;
  const int max_token = generates ? text.vocab_size - 1 : std::numeric_limits<int>::max();
  constexpr int kMaxWidth = 1 << 14;
  constexpr int kMaxLayers = 1 << 10;
  const Bound bounds[] = {
      {"vision_config.hidden_size", vision.hidden_size, 1, kMaxWidth},
      {"vision_config.intermediate_size", vision.intermediate_size, 1, 4 * kMaxWidth},
      {"vision_config.num_hidden_layers", vision.num_hidden_layers, 1, kMaxLayers},
      {"vision_config.num_attention_heads", vision.num_attention_heads, 1, kMaxWidth},
      {"vision_config.image_size", vision.image_size, 1, 1 << 14},
      {"vision_config.patch_size", vision.patch_size, 1, 1 << 10},
      {"text_config.vocab_size", text.vocab_size, 1, 1 << 20},
      {"text_config.hidden_size", text.hidden_size, 1, kMaxWidth},
      {"text_config.encoder_hidden_size", text.encoder_hidden_size, 1, kMaxWidth},
      {"text_config.intermediate_size", text.intermediate_size, 1, 4 * kMaxWidth},
      {"text_config.num_hidden_layers", text.num_hidden_layers, 1, kMaxLayers},
      {"text_config.num_attention_heads", text.num_attention_heads, 1, kMaxWidth},
      {"text_config.max_position_embeddings", text.max_position_embeddings, 1, 1 << 16},
      {"text_config.bos_token_id", text.bos_token_id, 0, max_token},
      {"text_config.pad_token_id", text.pad_token_id, 0, max_token},
      {"text_config.sep_token_id", text.sep_token_id, 0, max_token},
      {"image_text_hidden_size", config.image_text_hidden_size, 1, kMaxWidth},
      {"projection_dim", config.projection_dim, 1, kMaxWidth},
  };
  for (const Bound& bound : bounds) {
    if (bound.value >= bound.min && bound.value <= bound.max) continue;
    fail(where, in_quotes(bound.name) + " is " + std::to_string(bound.value) + "; expected " +
                    std::to_string(bound.min) + " to " + std::to_string(bound.max));
  }
}

void check_divides(std::string_view where, const Bound& part, const Bound& whole) {
  if (whole.value % part.value == 0) return;
  fail(where, in_quotes(part.name) + " is " + std::to_string(part.value) +
                  ", which does not divide " + in_quotes(whole.name) + ", " +
                  std::to_string(whole.value));
}

void check_eps(std::string_view where, const char* name, float eps) {
  if (std::isfinite(eps) && eps >= 0 && eps < 1) return;
  fail(where, in_quotes(name) + " is " + std::to_string(eps) + "; expected 0 to 1");
}

}  // namespace

std::string_view name(Architecture architecture) noexcept {
  switch (architecture) {
    case Architecture::captioning:
      return "captioning";
    case Architecture::question_answering:
      return "question_answering";
    case Architecture::retrieval:
      return "retrieval";
    case Architecture::dual_encoder:
      return "dual_encoder";
    case Architecture::nlvr:
      return "nlvr";
    case Architecture::pretrain:
      return "pretrain";
  }
  return "unknown";
}

BlipConfig BlipConfig::from_json(const Json& json) {
  if (!json.is_object()) fail(kWhere, "it is not a JSON object");
  require_blip(json);
  BlipConfig config;
  config.architecture = read_architecture(json);
  config.vision = read_vision(member(json, "vision_config"));
  config.text = read_text(member(json, "text_config"));
  config.text.encoder_hidden_size = config.vision.hidden_size;
  const Section section(json, "");
  section.read("image_text_hidden_size", config.image_text_hidden_size);
  section.read("projection_dim", config.projection_dim);
  validate(config, kWhere);
  return config;
}

Json BlipConfig::to_json() const {
  const auto* known = std::find_if(std::begin(kClasses), std::end(kClasses), [&](const auto& one) {
    return one.architecture == architecture;
  });
  return {
      {"model_type", "blip"},
      {"architectures", {known->name}},
      {"image_text_hidden_size", image_text_hidden_size},
      {"projection_dim", projection_dim},
      {"vision_config",
       {{"model_type", "blip_vision_model"},
        {"hidden_act", "gelu"},
        {"hidden_size", vision.hidden_size},
        {"intermediate_size", vision.intermediate_size},
        {"num_hidden_layers", vision.num_hidden_layers},
        {"num_attention_heads", vision.num_attention_heads},
        {"image_size", vision.image_size},
        {"patch_size", vision.patch_size},
        {"layer_norm_eps", vision.layer_norm_eps}}},
      {"text_config",
       {{"model_type", "blip_text_model"},
        {"hidden_act", "gelu"},
        {"vocab_size", text.vocab_size},
        {"hidden_size", text.hidden_size},
        {"encoder_hidden_size", text.encoder_hidden_size},
        {"intermediate_size", text.intermediate_size},
        {"num_hidden_layers", text.num_hidden_layers},
        {"num_attention_heads", text.num_attention_heads},
        {"max_position_embeddings", text.max_position_embeddings},
        {"layer_norm_eps", text.layer_norm_eps},
        {"bos_token_id", text.bos_token_id},
        {"pad_token_id", text.pad_token_id},
        {"sep_token_id", text.sep_token_id}}},
  };
}

void validate(const BlipConfig& config, std::string_view where) {
  check_ranges(config, where);
  const VisionConfig& vision = config.vision;
  const TextConfig& text = config.text;
  check_divides(where, {"vision_config.num_attention_heads", vision.num_attention_heads, 0, 0},
                {"vision_config.hidden_size", vision.hidden_size, 0, 0});
  check_divides(where, {"vision_config.patch_size", vision.patch_size, 0, 0},
                {"vision_config.image_size", vision.image_size, 0, 0});
  check_divides(where, {"text_config.num_attention_heads", text.num_attention_heads, 0, 0},
                {"text_config.hidden_size", text.hidden_size, 0, 0});
  check_eps(where, "vision_config.layer_norm_eps", vision.layer_norm_eps);
  check_eps(where, "text_config.layer_norm_eps", text.layer_norm_eps);
}

}  // namespace blip
