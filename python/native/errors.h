#pragma once

#include <nanobind/nanobind.h>

#include "blip/base/error.h"

namespace blip::python {

/// Lets every blip::Error that leaves a binding become a blip_cpp.BlipError.
void translate_errors();

/// The exception as an object, not raised: what stands in a list for a row that failed.
nanobind::object to_python(const Error& error);

}  // namespace blip::python
