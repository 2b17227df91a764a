#include "python/native/pictures.h"

#include <nanobind/ndarray.h>

#include <cstring>
#include <string>
#include <utility>

#include "blip/base/error.h"

namespace nb = nanobind;

namespace blip::python {
namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

/// Throws what Python has raised as Error{usage}: it is the object's error, but for want of memory.
[[noreturn]] void fail(const std::string& what) {
  const nb::python_error raised;
  if (raised.matches(PyExc_MemoryError)) throw raised;
  throw Error(ErrorCode::usage, what + ": " + nb::str(raised.value()).c_str());
}

Image image_of(const Pixels& pixels) {
  constexpr std::size_t kLongestSide = 1 << 20;  // as of pictures in files
  if (pixels.size() == 0 || pixels.shape(0) > kLongestSide || pixels.shape(1) > kLongestSide)
    throw Error(ErrorCode::usage, "an array of pixels has sides of 1 to 1,048,576");
  Image image{static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0)), {}};
  image.rgb.assign(pixels.data(), pixels.data() + pixels.size());
  return image;
}

}  // namespace

HeldBytes::HeldBytes(nb::handle object) {
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) fail("the bytes cannot be read");
  borrowed_ = true;
  if (PyBytes_Check(object.ptr())) return;
  const auto* begin = static_cast<const std::byte*>(view_.buf);
  copy_.assign(begin, begin + view_.len);
  PyBuffer_Release(&view_);
  borrowed_ = false;
}

HeldBytes::HeldBytes(HeldBytes&& other) noexcept
    : view_(other.view_),
      borrowed_(std::exchange(other.borrowed_, false)),
      copy_(std::move(other.copy_)) {}

HeldBytes::~HeldBytes() {
  if (borrowed_) PyBuffer_Release(&view_);
}

std::span<const std::byte> HeldBytes::bytes() const {
  if (!borrowed_) return copy_;
  return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
}

std::filesystem::path path_of(nb::handle object) {
  const nb::bytes name = nb::steal<nb::bytes>(PyUnicode_EncodeFSDefault(object.ptr()));
  if (!name.is_valid()) fail("this is no path");
  const std::string path(static_cast<const char*>(name.data()), name.size());
  if (path.find('\0') != std::string::npos)
    throw Error(ErrorCode::usage, "a path cannot have a NUL byte, as " + in_quotes(path) + " has");
  return path;
}

PictureSource picture_source(nb::handle object) {
  if (nb::isinstance<nb::str>(object)) return path_of(object);
  if (PyBytes_Check(object.ptr()) || PyByteArray_Check(object.ptr()) ||
      PyMemoryView_Check(object.ptr()))
    return HeldBytes(object);
  Pixels pixels;
  if (nb::try_cast(object, pixels, false)) return image_of(pixels);
  throw Error(
      ErrorCode::usage,
      "a picture is the bytes of a file, a path, or an array [height, width, 3] of uint8, not " +
          std::string(nb::type_name(object.type()).c_str()));
}

Image load(PictureSource& source, const ImageOptions& options) {
  if (auto* image = std::get_if<Image>(&source)) return std::move(*image);
  if (const auto* path = std::get_if<std::filesystem::path>(&source))
    return load_image(*path, options);
  return decode_image(std::get<HeldBytes>(source).bytes(), options);
}

}  // namespace blip::python
