#pragma once

#include "blip/base/json.h"
#include "blip/tasks/description.h"

namespace blip {

/// Options of a recipe by their fields' names, stages as objects in which the prompts and the
/// options of their generation lie side by side: {"describe": {"prompts": [...], "num_beams": 4}}.
Json to_json(const ClassicOptions& options);
Json to_json(const FaithfulOptions& options);

/// Takes over the options that `json`, an object as to_json() makes it, names; "describe.num_beams"
/// is num_beams in "describe". A most or fewest tokens in one form (in all, or new) replaces that
/// in the other. Throws Error{usage} for a key that is none, naming the nearest that is, and for a
/// wrong value.
void update_from_json(ClassicOptions& options, const Json& json);
void update_from_json(FaithfulOptions& options, const Json& json);

/// Everything that is known of a description, as docs/output.md says.
Json to_json(const Description& description);

}  // namespace blip
