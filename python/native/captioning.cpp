#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/description.h"
#include "blip/tasks/description_json.h"
#include "python/native/engine.h"
#include "python/native/options.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace blip::python {
namespace {

/// What blip_cpp.Caption is made of.
nb::tuple row(const Caption& caption) {
  nb::list tokens;
  for (const CaptionToken& token : caption.tokens)
    tokens.append(nb::make_tuple(token.id, token.text, token.logprob));
  return nb::make_tuple(caption.text, caption.score, caption.finished, nb::tuple(tokens));
}

CaptionOptions caption_options(const Loaded& loaded, const std::string& preset,
                               const nb::dict& generation) {
  CaptionOptions options;
  options.generation = loaded.engine.default_generation();
  if (preset == "paper") {
    options = paper_caption_options();
  } else if (preset != "checkpoint") {
    throw Error(ErrorCode::usage, "preset is checkpoint or paper, not " + in_quotes(preset));
  }
  update(options.generation, generation);
  return options;
}

/// What captions are asked for: a prompt and a seed for each picture, the rest for all.
nb::list caption(const Loaded& loaded, const std::vector<const Picture*>& pictures,
                 const std::vector<std::string>& prompts, const std::vector<std::uint64_t>& seeds,
                 const nb::dict& rest) {
  const bool strip = read<bool>(rest, "strip_prompt");
  CaptionOptions common = caption_options(loaded, read<std::string>(rest, "preset"),
                                          read<nb::dict>(rest, "generation"));
  common.strip_prompt = common.strip_prompt || strip;
  const std::vector<EncodedImage> images = images_of(loaded, pictures);
  if (prompts.size() != images.size() || seeds.size() != images.size())
    throw Error(ErrorCode::usage, "there are not as many prompts and seeds as pictures");
  std::vector<std::vector<Caption>> captions;
  {
    const nb::gil_scoped_release released;
    std::vector<CaptionRequest> requests;
    std::vector<CaptionOptions> options(images.size(), common);
    for (std::size_t i = 0; i < images.size(); ++i) {
      requests.push_back({images[i], prompts[i]});
      options[i].generation.seed = seeds[i];
    }
    captions = Captioner(loaded.engine).caption(requests, options, loaded.context);
  }
  nb::list rows;
  for (const std::vector<Caption>& of_picture : captions) {
    nb::list sequences;
    for (const Caption& one : of_picture) sequences.append(row(one));
    rows.append(sequences);
  }
  return rows;
}

DescriptionOptions description_options(const nb::dict& given) {
  DescriptionOptions options;
  options.recipe = recipe(read<std::string>(given, "recipe"));
  options.detail = detail_level(read<std::string>(given, "detail"));
  options.multi_round = read<bool>(given, "multi_round");
  options.seed = read<std::uint64_t>(given, "seed");
  const Json changes = parse_json(read<std::string>(given, "options"), "options");
  if (options.recipe == DescriptionRecipe::classic) {
    update_from_json(options.classic, changes);
  } else {
    update_from_json(options.faithful, changes);
  }
  return options;
}

std::string describe(const Loaded& loaded, const Picture& picture, const nb::dict& rest) {
  const DescriptionOptions options = description_options(rest);
  const EncodedImage image = images_of(loaded, {&picture}).front();
  const nb::gil_scoped_release released;
  return dump(
      to_json(Describer(loaded.engine).describe({.image = image}, options, {}, loaded.context)));
}

}  // namespace

void bind_captioning(nb::class_<Loaded>& engine) {
  engine
      .def("caption", &caption, "pictures"_a, "prompts"_a, "seeds"_a, "options"_a,
           "For each picture its captions, best first: (text, score, finished, tokens).")
      .def("describe", &describe, "picture"_a, "options"_a,
           "A description as JSON (docs/output.md).");
}

}  // namespace blip::python
