#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "blip/base/tensor.h"

namespace blip {

/// Is shown named intermediates of a forward pass, such as "vision.hidden_states.3", so that tests
/// compare every layer and not only the end. Empty: nobody looks.
using Probe =
    std::function<void(std::string_view name, std::span<const float> values, const Shape& shape)>;

}  // namespace blip
