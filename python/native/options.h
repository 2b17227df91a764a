#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <string_view>

#include "blip/base/error.h"
#include "blip/generation/generation_config.h"
#include "blip/image/decode.h"
#include "blip/tasks/description_options.h"
#include "blip/tasks/features.h"

namespace blip::python {

/// `value` as a T. Throws Error{usage} naming the option for a value of another kind.
template <class T>
T read(const char* option, nanobind::handle value) {
  try {
    return nanobind::cast<T>(value);
  } catch (const nanobind::cast_error&) {
  } catch (const nanobind::python_error&) {
  }
  throw Error(ErrorCode::usage,
              std::string(option) + " cannot be " + in_quotes(nanobind::str(value).c_str()));
}

/// The entry of a dict that has it.
template <class T>
T read(const nanobind::dict& given, const char* option) {
  return read<T>(option, given[option]);
}

/// Takes over what a dict names by GenerationConfig's fields; None means "keep".
/// Throws Error{usage} for a name that is none, a value of a wrong type, and an option that has no
/// effect without another, such as top_p without do_sample.
void update(GenerationConfig& config, const nanobind::dict& given);

/// These throw Error{usage} for a word that is none, naming those that are.
AlphaMode alpha_mode(std::string_view word);
FeatureKind feature_kind(std::string_view word);
DescriptionRecipe recipe(std::string_view word);
DetailLevel detail_level(std::string_view word);

}  // namespace blip::python
