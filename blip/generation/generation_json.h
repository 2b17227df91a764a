#pragma once

#include "blip/base/json.h"
#include "blip/generation/generation_config.h"

namespace blip {

/// Takes over the options that a generation_config.json (or a request) names by their field's name;
/// other keys are left alone, null means "keep". Throws Error{bad_model} naming a key of a wrong
/// type.
void update_from_json(GenerationConfig& config, const Json& json);

/// The options by their fields' names; lengths that are not set are left out.
Json to_json(const GenerationConfig& config);

}  // namespace blip
