#include "python/native/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "blip/base/error.h"
#include "python/native/errors.h"
#include "python/native/options.h"
#include "python/native/pictures.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace blip::python {
namespace {

std::optional<Precision> precision_of(const std::string& word) {
  const std::optional<Precision> precision = find_precision(word);
  if (!precision && word != "auto")
    throw Error(ErrorCode::usage,
                "precision is one of auto, f32, bf16, int8, not " + in_quotes(word));
  return precision;
}

void in_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    throw Error(ErrorCode::usage, std::string(name) + " is from " + std::to_string(least) + " to " +
                                      std::to_string(most) + ", not " + std::to_string(value));
}

/// What a constructor sets before it loads: keyword arguments of Engine.
struct Settings {
  EngineOptions engine;
  ImageOptions images;
  int threads = 0;
};

Settings settings_of(const nb::dict& given) {
  Settings settings;
  settings.engine.precision = precision_of(read<std::string>(given, "precision"));
  settings.engine.image_size = read<int>(given, "image_size");
  settings.engine.vision_heads = read<int>(given, "vision_heads");
  settings.engine.tokenizer = path_of(given["tokenizer"]);
  settings.images.alpha = alpha_mode(read<std::string>(given, "alpha"));
  settings.images.exif_orientation = read<bool>(given, "exif_orientation");
  settings.images.max_pixels = read<std::int64_t>(given, "max_pixels");
  settings.threads = read<int>(given, "threads");
  in_range("image_size", settings.engine.image_size, 0, 4096);
  in_range("vision_heads", settings.engine.vision_heads, 0, 1024);
  in_range("threads", settings.threads, 0, 1024);
  in_range("max_pixels", settings.images.max_pixels, 1, INT64_MAX);
  return settings;
}

void construct(Loaded* place, nb::handle path, const nb::dict& given) {
  const std::filesystem::path model = path_of(path);
  const Settings settings = settings_of(given);
  const nb::gil_scoped_release released;
  new (place) Loaded{Engine::load(model, settings.engine), settings.images,
                     Context{.num_threads = settings.threads}};
}

Picture encode(const Loaded& loaded, PictureSource& source) {
  const nb::gil_scoped_release released;
  try {
    const Image image = load(source, loaded.images);
    return {loaded.engine.encode({&image, 1}, loaded.context).front(), loaded.engine};
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::too_large, "there is no memory for the picture");
  }
}

nb::list encode_all(const Loaded& loaded, const nb::list& pictures) {
  nb::list encoded;
  for (const nb::handle picture : pictures) {
    // Between pictures Ctrl-C is heeded.
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    try {
      if (nb::isinstance<Picture>(picture)) {
        encoded.append(picture);
        continue;
      }
      PictureSource source = picture_source(picture);
      encoded.append(nb::cast(encode(loaded, source)));
    } catch (const Error& error) {
      encoded.append(to_python(error));
    }
  }
  return encoded;
}

/// [tokens, width], a view of what the picture keeps.
auto image_embeds(nb::handle self) {
  const EncodedImage& image = nb::cast<const Picture&>(self).image;
  const std::size_t tokens = static_cast<std::size_t>(image.num_tokens());
  const std::span<const float> values = image.image_embeds();
  return nb::ndarray<nb::numpy, const float, nb::ndim<2>>(values.data(),
                                                          {tokens, values.size() / tokens}, self);
}

}  // namespace

std::vector<EncodedImage> images_of(const Loaded& loaded,
                                    const std::vector<const Picture*>& pictures) {
  std::vector<EncodedImage> images;
  for (const Picture* picture : pictures) {
    if (&picture->engine.model() != &loaded.engine.model())
      throw Error(ErrorCode::usage,
                  "the picture was encoded by another model than the one that is asked");
    images.push_back(picture->image);
  }
  return images;
}

void as_many(std::size_t pictures, std::size_t others, const char* what) {
  if (pictures == others) return;
  throw Error(ErrorCode::usage, "there are " + std::to_string(pictures) + " pictures and " +
                                    std::to_string(others) + " " + what);
}

nb::class_<Loaded> bind_engine(nb::module_& module) {
  nb::class_<Picture>(
      module, "EncodedImage",
      "A picture after the vision encoder of a model: every method of that model takes "
      "it in the picture's place. Copies nothing; safe to share between threads.")
      .def_prop_ro("image_embeds", &image_embeds, "float32 [tokens, width], read-only");
  return nb::class_<Loaded>(module, "Engine", "A checkpoint; its methods release the GIL.")
      .def("__init__", &construct, "path"_a, "settings"_a)
      .def_prop_ro(
          "precision",
          [](const Loaded& self) { return std::string(name(self.engine.precision())); },
          "f32, bf16 or int8: what the linear layers multiply in")
      .def("encode", &encode_all, "pictures"_a,
           "An EncodedImage for each picture, or the BlipError that it met. Encoded ones stay.");
}

}  // namespace blip::python
