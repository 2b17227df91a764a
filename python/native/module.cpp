#include <nanobind/nanobind.h>

#include "blip/blip.h"
#include "python/native/engine.h"
#include "python/native/errors.h"

namespace blip::python {
namespace {

NB_MODULE(_native, module) {
  module.doc() =
      "The engine of blip_cpp, in lists of pictures and plain values; blip_cpp.Model is its face.";
  module.attr("__version__") = BLIP_VERSION;
  translate_errors();
  nanobind::class_<Loaded> engine = bind_engine(module);
  bind_captioning(module, engine);
  bind_questions(engine);
  bind_matching(engine);
}

}  // namespace
}  // namespace blip::python
