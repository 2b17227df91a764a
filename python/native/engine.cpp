#include "python/native/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <future>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/tensor.h"
#include "blip/image/image_processor.h"
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
  settings.engine.num_threads = read<int>(given, "threads");
  in_range("image_size", settings.engine.image_size, 0, 4096);
  in_range("vision_heads", settings.engine.vision_heads, 0, 1024);
  in_range("threads", settings.engine.num_threads, 0, 1024);
  in_range("max_pixels", settings.images.max_pixels, 1, INT64_MAX);
  return settings;
}

void construct(Loaded* place, nb::handle path, const nb::dict& given) {
  const std::filesystem::path model = path_of(path);
  const Settings settings = settings_of(given);
  const nb::gil_scoped_release released;
  const Context context{.num_threads = settings.engine.num_threads};
  new (place) Loaded{Engine::load(model, settings.engine), settings.images, context};
}

/// What was given for a picture, and what becomes of it.
struct Slot {
  nb::handle given;
  std::optional<PictureSource> source;  ///< none: it is encoded already, or no picture
  FloatBuffer pixel_values;             ///< [3, height, width], once it is read
  std::optional<Error> error;
  std::optional<Picture> encoded;
};

Error no_memory() {
  return Error(ErrorCode::too_large, "there is no memory for the picture");
}

std::vector<Slot> slots_of(const nb::list& pictures, std::size_t first, std::size_t count) {
  std::vector<Slot> slots;
  for (std::size_t i = first; i < std::min(first + count, pictures.size()); ++i) {
    Slot& slot = slots.emplace_back();
    slot.given = pictures[i];
    try {
      if (!nb::isinstance<Picture>(slot.given)) slot.source.emplace(picture_source(slot.given));
    } catch (const Error& error) {
      slot.error = error;
    }
  }
  return slots;
}

/// Needs no GIL.
void read_pixels(const Loaded& loaded, std::span<Slot> slots, const Context& context) {
  const ThreadScope threads(context);
  const ImageProcessor& processor = loaded.engine.image_processor();
  const ImageProcessorConfig& size = processor.config();
  for (Slot& slot : slots) {
    if (!slot.source) continue;
    try {
      const Image image = load(*slot.source, loaded.images);
      slot.pixel_values = FloatBuffer(3 * static_cast<std::size_t>(size.height) *
                                      static_cast<std::size_t>(size.width));
      processor.process(image, slot.pixel_values.data());
    } catch (const Error& error) {
      slot.error = error;
    } catch (const std::bad_alloc&) {
      slot.error = no_memory();
    }
  }
}

/// Needs no GIL.
void encode(const Loaded& loaded, std::span<Slot* const> slots) {
  const ImageProcessorConfig& size = loaded.engine.image_processor().config();
  std::vector<std::span<const float>> pictures;
  for (const Slot* slot : slots) pictures.push_back(slot->pixel_values.span());
  try {
    std::vector<EncodedImage> images =
        loaded.engine.encode_pixel_values(pictures, size.height, size.width, loaded.context);
    for (std::size_t i = 0; i < slots.size(); ++i)
      slots[i]->encoded = Picture{std::move(images[i]), loaded.engine};
  } catch (const std::bad_alloc&) {
    // Where there is no memory for all, each is tried alone.
    if (slots.size() == 1) {
      slots.front()->error = no_memory();
    } else {
      for (Slot* const& slot : slots) encode(loaded, {&slot, 1});
    }
  }
}

nb::object result_of(Slot& slot) {
  if (slot.error) return to_python(*slot.error);
  if (slot.encoded) return nb::cast(std::move(*slot.encoded));
  return nb::borrow(slot.given);
}

/// Pictures that are faster together are encoded together, while a thread reads the next ones.
nb::list encode_all(const Loaded& loaded, const nb::list& pictures) {
  const std::size_t at_once = loaded.engine.pictures_at_once();
  std::vector<Slot> slots = slots_of(pictures, 0, at_once);
  {
    const nb::gil_scoped_release released;
    read_pixels(loaded, slots, loaded.context);
  }
  nb::list encoded;
  for (std::size_t first = 0; first < pictures.size(); first += at_once) {
    // Between pictures Ctrl-C is heeded.
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    std::vector<Slot> next = slots_of(pictures, first + at_once, at_once);
    {
      const nb::gil_scoped_release released;
      std::future<void> reading;
      if (std::ranges::any_of(next, [](const Slot& slot) { return slot.source.has_value(); }))
        reading = std::async([&] { read_pixels(loaded, next, {.num_threads = 1}); });
      std::vector<Slot*> read;
      for (Slot& slot : slots) {
        if (slot.pixel_values.size() > 0 && !slot.error) read.push_back(&slot);
      }
      if (!read.empty()) encode(loaded, read);
      if (reading.valid()) reading.get();
    }
    for (Slot& slot : slots) encoded.append(result_of(slot));
    slots = std::move(next);
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
