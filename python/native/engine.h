#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <vector>

#include "blip/base/context.h"
#include "blip/image/decode.h"
#include "blip/tasks/engine.h"

namespace blip::python {

/// A checkpoint, and how its pictures are read and computed. Immutable; shared by threads.
struct Loaded {
  Engine engine;
  ImageOptions images;
  Context context;
};

/// A picture that an engine has encoded.
struct Picture {
  EncodedImage image;
  Engine engine;  ///< that encoded it: kept, so that no later one is taken for it
};

/// The images of pictures. Throws Error{usage} for one that another engine has encoded.
std::vector<EncodedImage> images_of(const Loaded& loaded,
                                    const std::vector<const Picture*>& pictures);

/// Throws Error{usage} when there are not as many `what` as pictures.
void as_many(std::size_t pictures, std::size_t others, const char* what);

/// blip_cpp._native.Engine and .EncodedImage: loading and encoding.
nanobind::class_<Loaded> bind_engine(nanobind::module_& module);

/// Methods of Engine, a kind of task each.
void bind_captioning(nanobind::module_& module, nanobind::class_<Loaded>& engine);
void bind_questions(nanobind::class_<Loaded>& engine);
void bind_matching(nanobind::class_<Loaded>& engine);

}  // namespace blip::python
