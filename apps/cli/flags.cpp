#include "apps/cli/flags.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <span>
#include <type_traits>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"

namespace blip::cli {
namespace {

const std::map<std::string, Format> kFormats = {
    {"text", Format::text}, {"json", Format::json}, {"jsonl", Format::jsonl}};
const std::map<std::string, AlphaMode> kAlphaModes = {{"white", AlphaMode::white},
                                                      {"drop", AlphaMode::drop}};
const std::map<std::string, EarlyStopping> kEarlyStopping = {
    {"false", EarlyStopping::no}, {"true", EarlyStopping::yes}, {"never", EarlyStopping::never}};

constexpr std::string_view kSamplingOnly[] = {"temperature", "top_k",          "top_p",     "min_p",
                                              "typical_p",   "epsilon_cutoff", "eta_cutoff"};
constexpr std::string_view kBeamsOnly[] = {"early_stopping", "length_penalty"};

/// The words of `words` as they appear in --help: "{text,json,jsonl}".
template <class T>
CLI::CheckedTransformer one_of(const std::map<std::string, T>& words) {
  std::string list;
  for (const auto& [word, value] : words) list += (list.empty() ? "{" : ",") + word;
  CLI::CheckedTransformer transformer(words, CLI::ignore_case);
  transformer.description(list + "}");
  return transformer;
}

std::string flag_name(std::string field) {
  std::replace(field.begin(), field.end(), '_', '-');
  return "--" + field;
}

}  // namespace

Engine load_engine(const std::filesystem::path& model, const EngineOptions& options) {
  Engine engine = Engine::load(model, options);
  if (engine.checkpoint().failed_gate) {
    std::fprintf(stderr,
                 "blip: %s did not pass its accuracy gate when it was quantised (blip compare "
                 "--against-model tells how far it is from the one that it came from)\n",
                 model.c_str());
  }
  return engine;
}

std::filesystem::path shipped_model(std::string_view task) {
  // bin/blip and share/blip/model lie side by side, in the build tree as in the installed one.
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string name = task.empty() ? "model" : "model-" + std::string(task);
  return program.parent_path().parent_path() / "share" / "blip" / name;
}

Engine ModelFlags::load() const {
  return load_engine(path(), options);
}

EngineOptions ModelFlags::second_options() const {
  return {.precision = options.precision, .num_threads = options.num_threads};
}

void ModelFlags::add_to(CLI::App& command) {
  command
      .add_option("-m,--model", model,
                  "checkpoint: a Hugging Face folder or an authors' .pth file (default: the small "
                  "model that comes with the program)")
      ->envname("BLIP_MODEL");
  command
      .add_option("--image-size", options.image_size,
                  "side in pixels that pictures are squashed to (default: the checkpoint's)")
      ->check(CLI::Range(1, 4096));
  command
      .add_option("--vision-heads", options.vision_heads,
                  "attention heads of a .pth's vision encoder (default: its width / 64)")
      ->check(CLI::Range(1, 1024));
  add_precision_option(command, options, "the layers");
  command.add_option("--num-threads", options.num_threads, "threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
}

std::filesystem::path ModelFlags::path() const {
  if (!model.empty()) return model;
  const std::filesystem::path path = shipped_model(task);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    throw Error(ErrorCode::not_found,
                "the default model is not at " + path.string() + "; name one with --model");
  }
  return path;
}

void ImageFlags::add_to(CLI::App& command) {
  command.add_flag("--exif-orientation,!--no-exif-orientation", options.exif_orientation,
                   "turn pictures as their EXIF orientation says (off by default: the reference "
                   "implementations ignore it)");
  command
      .add_option("--alpha", options.alpha,
                  "transparency: laid on white (default), or dropped as older versions did")
      ->transform(one_of(kAlphaModes));
  command
      .add_option("--max-pixels", options.max_pixels, "refuse larger pictures before decoding them")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
}

void GenerationFlags::add_to(CLI::App& command) {
  for_each_field(given_, [&](const char* field, auto& value, const char* help) {
    using T = std::decay_t<decltype(value)>;
    const std::string flag = flag_name(field);
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      option = command.add_flag(flag, value, help);
    } else {
      option = command.add_option(flag, value, help);
      if constexpr (std::is_same_v<T, EarlyStopping>) option->transform(one_of(kEarlyStopping));
    }
    options_.push_back(option->group("Generation"));
  });
}

void GenerationFlags::apply_to(GenerationConfig& config) const {
  if (given("max_length")) {
    if (given("max_new_tokens"))
      throw Error(ErrorCode::usage, "--max-length and --max-new-tokens cannot be given together");
    config.max_new_tokens.reset();
  }
  if (given("min_length")) {
    if (given("min_new_tokens"))
      throw Error(ErrorCode::usage, "--min-length and --min-new-tokens cannot be given together");
    config.min_new_tokens.reset();
  }
  std::vector<const void*> given;
  for_each_field(given_,
                 [&](const char*, const auto& value, const char*) { given.push_back(&value); });
  std::size_t i = 0;
  for_each_field(config, [&](const char*, auto& value, const char*) {
    // The same struct, field by field, so the i-th has this type.
    using T = std::decay_t<decltype(value)>;
    if (options_[i]->count() > 0) value = *static_cast<const T*>(given[i]);
    ++i;
  });
  check(config);
}

bool GenerationFlags::given(std::string_view wanted) const {
  std::size_t i = 0;
  bool found = false;
  for_each_field(given_, [&](const char* field, const auto&, const char*) {
    found = found || (field == wanted && options_[i]->count() > 0);
    ++i;
  });
  return found;
}

void GenerationFlags::check(const GenerationConfig& config) const {
  const auto refuse = [&](std::span<const std::string_view> fields, const char* without) {
    for (const std::string_view field : fields) {
      if (given(field))
        throw Error(ErrorCode::usage,
                    flag_name(std::string(field)) + " has an effect only together with " + without);
    }
  };
  if (!config.do_sample) refuse(kSamplingOnly, "--do-sample");
  if (config.num_beams == 1) refuse(kBeamsOnly, "--num-beams 2 or more");
}

void add_precision_option(CLI::App& command, EngineOptions& options, const std::string& what) {
  command
      .add_option_function<std::string>(
          "--precision",
          [&options](const std::string& word) { options.precision = find_precision(word); },
          "arithmetic of " + what +
              " (auto: as stored, but bf16 instead of f32 on CPUs that multiply it; see blip "
              "convert and blip quantize)")
      ->default_str("auto")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
}

void add_precision_option(CLI::App& command, Precision& precision, const std::string& flag) {
  std::map<std::string, Precision> words;
  for (const Precision one : kPrecisions) words.emplace(name(one), one);
  command.add_option(flag, precision, "arithmetic of the layers")
      ->default_str(std::string(name(precision)))
      ->transform(one_of(words));
}

void add_format_flag(CLI::App& command, Format& format) {
  command
      .add_option("--format", format,
                  "how results are written: text, json (one array) or jsonl (one object a line)")
      ->transform(one_of(kFormats));
}

}  // namespace blip::cli
