#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <variant>
#include <vector>

#include "blip/image/decode.h"
#include "blip/tasks/engine.h"

namespace blip::python {

/// Bytes of a Python object that nobody can change meanwhile: those of an immutable object are
/// borrowed, others copied. Made and destroyed with the GIL; read without.
class HeldBytes {
 public:
  /// Throws Error{usage} for an object whose bytes cannot be had in one piece.
  explicit HeldBytes(nanobind::handle object);
  HeldBytes(HeldBytes&& other) noexcept;
  HeldBytes& operator=(HeldBytes&&) = delete;
  ~HeldBytes();
  std::span<const std::byte> bytes() const;

 private:
  Py_buffer view_{};
  bool borrowed_ = false;
  std::vector<std::byte> copy_;
};

/// A str as Python's own functions take file names: bytes that are no UTF-8 are its surrogates.
/// Throws Error{usage} for other surrogates and for a NUL byte.
std::filesystem::path path_of(nanobind::handle object);

/// A picture as Python gives it: the bytes of a file, its path, or pixels.
using PictureSource = std::variant<HeldBytes, std::filesystem::path, Image>;

/// str: a path; an array [height, width, 3] of uint8: pixels; what else has a buffer: a file's
/// bytes. Needs the GIL. Throws Error{usage} for anything else.
PictureSource picture_source(nanobind::handle object);

/// Needs no GIL. Throws as decode_image() and load_image().
Image load(PictureSource& source, const ImageOptions& options);

}  // namespace blip::python
