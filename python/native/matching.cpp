#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/tasks/features.h"
#include "blip/tasks/matching.h"
#include "blip/tokenizer/tokenizer.h"
#include "python/native/engine.h"
#include "python/native/options.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace blip::python {
namespace {

using Vectors = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

/// [count, width]; the array owns the values.
Vectors array_of(Features features) {
  auto kept = std::make_unique<Features>(std::move(features));
  const std::size_t width = kept->width;
  const std::size_t count = kept->truncated.size();
  float* const values = kept->values.data();
  const nb::capsule owner(kept.release(),
                          [](void* data) noexcept { delete static_cast<Features*>(data); });
  return Vectors(values, {count, width}, owner);
}

MatchOptions match_options(const nb::dict& given) {
  MatchOptions options;
  options.itm = read<bool>(given, "itm");
  options.itc = read<bool>(given, "itc");
  options.max_length = read<int>(given, "max_length");
  if (options.max_length < 0) throw Error(ErrorCode::usage, "max_length is at least 0");
  return options;
}

/// Throws Error{unsupported} when the checkpoint lacks a head that the options ask for.
void check_match(const Loaded& loaded, const nb::dict& rest) {
  Matcher(loaded.engine).encode({}, match_options(rest));
}

/// What blip_cpp.Match is made of: of a score that was not asked for, None.
nb::list match(const Loaded& loaded, const Picture& picture, const std::vector<std::string>& texts,
               const nb::dict& rest) {
  const MatchOptions options = match_options(rest);
  const EncodedImage image = images_of(loaded, {&picture}).front();
  std::vector<MatchText> encoded;
  std::vector<Match> matches;
  {
    const nb::gil_scoped_release released;
    const Matcher matcher(loaded.engine);
    encoded = matcher.encode(texts, options, loaded.context);
    matches = matcher.match(image, encoded, loaded.context);
  }
  nb::list rows;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const nb::object itm = options.itm ? nb::cast(matches[i].itm_probability) : nb::none();
    const nb::object itc = options.itc ? nb::cast(matches[i].itc_similarity) : nb::none();
    rows.append(nb::make_tuple(itm, itc, encoded[i].truncated));
  }
  return rows;
}

Vectors image_features(const Loaded& loaded, const std::vector<const Picture*>& pictures,
                       const std::string& kind) {
  const FeatureKind wanted = feature_kind(kind);
  const std::vector<EncodedImage> images = images_of(loaded, pictures);
  Features features;
  {
    const nb::gil_scoped_release released;
    features = FeatureExtractor(loaded.engine).image_features(images, wanted, loaded.context);
  }
  return array_of(std::move(features));
}

Vectors text_features(const Loaded& loaded, const std::vector<std::string>& texts,
                      const std::string& kind, int max_length) {
  const FeatureOptions options{feature_kind(kind), max_length};
  if (max_length < 0) throw Error(ErrorCode::usage, "max_length is at least 0");
  Features features;
  {
    const nb::gil_scoped_release released;
    features = FeatureExtractor(loaded.engine).text_features(texts, options, loaded.context);
  }
  return array_of(std::move(features));
}

bool has_words(const Loaded& loaded, const std::string& text) {
  return !loaded.engine.tokenizer().encode_plain(text).empty();
}

}  // namespace

void bind_matching(nb::class_<Loaded>& engine) {
  engine
      .def("match", &match, "picture"_a, "texts"_a, "options"_a,
           "For each text (ITM probability, ITC similarity, whether it was cut).")
      .def("check_match", &check_match, "options"_a,
           "Raises BlipError where match() with these options cannot do.")
      .def("has_words", &has_words, "text"_a, "Whether the model reads anything in a text.")
      .def("image_features", &image_features, "pictures"_a, "kind"_a, "float32 [pictures, width]")
      .def("text_features", &text_features, "texts"_a, "kind"_a, "max_length"_a,
           "float32 [texts, width]");
}

}  // namespace blip::python
