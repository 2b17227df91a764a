#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/base/random.h"
#include "blip/index/checksum.h"
#include "blip/tasks/capfilt.h"
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
  validate(options.generation);
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
  as_many(images.size(), prompts.size(), "prompts");
  as_many(images.size(), seeds.size(), "seeds");
  std::vector<std::vector<Caption>> captions;
  {
    const nb::gil_scoped_release released;
    const Captioner captioner(loaded.engine);
    std::vector<CaptionRequest> requests;
    std::vector<CaptionOptions> options(images.size(), common);
    for (std::size_t i = 0; i < images.size(); ++i) {
      requests.push_back({images[i], prompts[i]});
      options[i].generation.seed = seeds[i];
    }
    captions = captioner.caption(requests, options, loaded.context);
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
  const Json changes = parse_json(read<std::string>(given, "options"), "options");
  if (options.recipe == DescriptionRecipe::classic) {
    update_from_json(options.classic, changes);
  } else {
    update_from_json(options.faithful, changes);
  }
  return options;
}

/// A record's own stream of a data set's seed; its key says which, wherever the record stands.
std::uint64_t record_seed(std::uint64_t seed, const std::string& key) {
  return stream_seed(seed, checksum(std::as_bytes(std::span(key))));
}

/// A description of each picture as JSON.
std::vector<std::string> describe(const Loaded& loaded, const std::vector<const Picture*>& pictures,
                                  const std::vector<std::uint64_t>& seeds, const nb::dict& rest) {
  DescriptionOptions options = description_options(rest);
  const std::vector<EncodedImage> images = images_of(loaded, pictures);
  as_many(images.size(), seeds.size(), "seeds");
  const nb::gil_scoped_release released;
  const Describer describer(loaded.engine);
  describer.validate(options);
  std::vector<std::string> descriptions;
  for (std::size_t i = 0; i < images.size(); ++i) {
    options.seed = seeds[i];
    const Description found = describer.describe({.image = images[i]}, options, {}, loaded.context);
    descriptions.push_back(dump(to_json(found)));
  }
  return descriptions;
}

}  // namespace

void bind_captioning(nb::module_& module, nb::class_<Loaded>& engine) {
  module.def("record_seed", &record_seed, "seed"_a, "key"_a,
             "The seed of a record: of all records' seed and the record's key.");
  module.attr("PAPER_PROMPT") = std::string(kPaperPrompt);
  engine
      .def_prop_ro(
          "capfilt_prompt", [](const Loaded& self) { return capfilt_prompt(self.engine); },
          "How CapFilt's captions begin unless one says otherwise.")
      .def("caption", &caption, "pictures"_a, "prompts"_a, "seeds"_a, "options"_a,
           "For each picture its captions, best first: (text, score, finished, tokens).")
      .def("describe", &describe, "pictures"_a, "seeds"_a, "options"_a,
           "A description of each picture as JSON (docs/output.md).");
}

}  // namespace blip::python
