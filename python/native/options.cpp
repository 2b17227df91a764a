#include "python/native/options.h"

#include <nanobind/stl/optional.h>

#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "blip/base/error.h"

namespace nb = nanobind;

namespace blip::python {
namespace {

constexpr std::string_view kSamplingOnly[] = {"temperature", "top_k",          "top_p",     "min_p",
                                              "typical_p",   "epsilon_cutoff", "eta_cutoff"};
constexpr std::string_view kBeamsOnly[] = {"early_stopping", "length_penalty"};

EarlyStopping read_early_stopping(const char* field, nb::handle value) {
  if (nb::isinstance<nb::str>(value) && read<std::string>(field, value) == "never")
    return EarlyStopping::never;
  return read<bool>(field, value) ? EarlyStopping::yes : EarlyStopping::no;
}

bool has(const nb::dict& given, std::string_view field) {
  const nb::str key(field.data(), field.size());
  return given.contains(key) && !given[key].is_none();
}

void refuse(const nb::dict& given, std::span<const std::string_view> fields, const char* without) {
  for (const std::string_view field : fields) {
    if (has(given, field))
      throw Error(ErrorCode::usage,
                  std::string(field) + " has an effect only together with " + without);
  }
}

/// The lengths of both forms: the one that is given replaces the checkpoint's other one.
void replace_lengths(GenerationConfig& config, const nb::dict& given) {
  if (has(given, "max_length")) {
    if (has(given, "max_new_tokens"))
      throw Error(ErrorCode::usage, "max_length and max_new_tokens cannot be given together");
    config.max_new_tokens.reset();
  }
  if (has(given, "min_length")) {
    if (has(given, "min_new_tokens"))
      throw Error(ErrorCode::usage, "min_length and min_new_tokens cannot be given together");
    config.min_new_tokens.reset();
  }
}

void refuse_unknown(GenerationConfig& config, const nb::dict& given) {
  for (const auto& [key, value] : given) {
    const std::string wanted = nb::str(key).c_str();
    bool known = false;
    std::string all;
    for_each_field(config, [&](const char* field, const auto&, const char*) {
      known = known || wanted == field;
      all += (all.empty() ? "" : ", ") + std::string(field);
    });
    if (!known)
      throw Error(ErrorCode::usage, in_quotes(wanted) + " is no option; generation has " + all);
  }
}

template <class T, std::size_t N>
T find(std::string_view word, const char* what, const std::pair<std::string_view, T> (&words)[N]) {
  std::string all;
  for (const auto& [name, value] : words) {
    if (name == word) return value;
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorCode::usage,
              std::string(what) + " is one of " + all + ", not " + in_quotes(word));
}

}  // namespace

void update(GenerationConfig& config, const nb::dict& given) {
  refuse_unknown(config, given);
  replace_lengths(config, given);
  for_each_field(config, [&](const char* field, auto& value, const char*) {
    if (!has(given, field)) return;
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, EarlyStopping>) {
      value = read_early_stopping(field, given[field]);
    } else {
      value = read<T>(field, given[field]);
    }
  });
  if (!config.do_sample) refuse(given, kSamplingOnly, "do_sample=True");
  if (config.num_beams == 1) refuse(given, kBeamsOnly, "num_beams of 2 or more");
}

AlphaMode alpha_mode(std::string_view word) {
  return find<AlphaMode>(word, "alpha", {{"white", AlphaMode::white}, {"drop", AlphaMode::drop}});
}

FeatureKind feature_kind(std::string_view word) {
  return find<FeatureKind>(word, "kind",
                           {{"raw", FeatureKind::raw},
                            {"projected", FeatureKind::projected},
                            {"normalised", FeatureKind::normalised}});
}

DescriptionRecipe recipe(std::string_view word) {
  return find<DescriptionRecipe>(
      word, "recipe",
      {{"classic", DescriptionRecipe::classic}, {"faithful", DescriptionRecipe::faithful}});
}

DetailLevel detail_level(std::string_view word) {
  return find<DetailLevel>(word, "detail",
                           {{"off", DetailLevel::off},
                            {"low", DetailLevel::low},
                            {"medium", DetailLevel::medium},
                            {"high", DetailLevel::high}});
}

}  // namespace blip::python
