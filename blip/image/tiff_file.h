#pragma once

#include <tiffio.h>

#include <memory>
#include <string>

#include "blip/image/codecs.h"

namespace blip {

/// A TIFF in memory, opened at its first picture. Nothing is printed, and libtiff's global handlers
/// are left alone.
class TiffFile {
 public:
  /// The bytes must outlive it. Single allocations of libtiff are bounded by `max_pixels`.
  /// Throws Error{bad_image}.
  TiffFile(Bytes bytes, std::int64_t max_pixels);
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_.get(); }

  /// Throws Error{bad_image} with the first error that libtiff reported.
  [[noreturn]] void fail() const;

 private:
  static tmsize_t read(thandle_t handle, void* out, tmsize_t size);
  static toff_t seek(thandle_t handle, toff_t offset, int whence);
  static toff_t size(thandle_t handle);
  static int map(thandle_t handle, void** base, toff_t* size);
  static int keep_error(TIFF*, void* user, const char*, const char* format, va_list arguments);
  static int keep_lost_palette(TIFF*, void* user, const char*, const char* format,
                               va_list arguments);

  Bytes bytes_;
  std::uint64_t position_ = 0;
  std::string error_;
  bool palette_lost_ = false;
  std::unique_ptr<TIFF, decltype(&TIFFClose)> tiff_;  ///< last: closing still calls back
};

}  // namespace blip
