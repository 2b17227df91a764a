#include "blip/image/tiff_file.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace blip {
namespace {

/// What libtiff may always allocate at once, however small the pictures are to be.
constexpr std::int64_t kSmallAllocation = std::int64_t{64} << 20;
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 40;

std::string formatted(const char* format, va_list arguments) {
  std::array<char, 200> text = {};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  return text.data();
}

}  // namespace

TiffFile::TiffFile(Bytes bytes, std::int64_t max_pixels)
    : bytes_(bytes), tiff_(nullptr, &TIFFClose) {
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> settings(
      TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
  if (!settings) throw std::bad_alloc();
  const std::int64_t pixels = std::clamp<std::int64_t>(max_pixels, 0, kMaxPixels);
  TIFFOpenOptionsSetMaxSingleMemAlloc(settings.get(), kSmallAllocation + 8 * pixels);
  TIFFOpenOptionsSetErrorHandlerExtR(settings.get(), keep_error, this);
  TIFFOpenOptionsSetWarningHandlerExtR(settings.get(), keep_lost_palette, this);
  tiff_.reset(TIFFClientOpenExt(
      "memory", "r", this, read, [](thandle_t, void*, tmsize_t) -> tmsize_t { return -1; }, seek,
      [](thandle_t) { return 0; }, size, map, [](thandle_t, void*, toff_t) {}, settings.get()));
  if (!tiff_) fail();
  if (palette_lost_) throw damaged("TIFF", "the data is cut short");
}

void TiffFile::fail() const {
  throw damaged("TIFF", error_.empty() ? "the data does not decode" : error_);
}

tmsize_t TiffFile::read(thandle_t handle, void* out, tmsize_t size) {
  auto* file = static_cast<TiffFile*>(handle);
  if (size <= 0 || file->position_ >= file->bytes_.size()) return 0;
  const Bytes rest = file->bytes_.subspan(static_cast<std::size_t>(file->position_));
  const std::size_t count = std::min(static_cast<std::size_t>(size), rest.size());
  std::memcpy(out, rest.data(), count);
  file->position_ += count;
  return static_cast<tmsize_t>(count);
}

toff_t TiffFile::seek(thandle_t handle, toff_t offset, int whence) {
  auto* file = static_cast<TiffFile*>(handle);
  if (whence == SEEK_CUR) offset += file->position_;
  if (whence == SEEK_END) offset += file->bytes_.size();
  return file->position_ = offset;
}

toff_t TiffFile::size(thandle_t handle) {
  return static_cast<TiffFile*>(handle)->bytes_.size();
}

int TiffFile::map(thandle_t handle, void** base, toff_t* size) {
  const Bytes bytes = static_cast<TiffFile*>(handle)->bytes_;
  *base = const_cast<std::uint8_t*>(bytes.data());  // opened for reading only
  *size = bytes.size();
  return 1;
}

/// The result 1 keeps libtiff's global handler, which prints, from being called.
int TiffFile::keep_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto* file = static_cast<TiffFile*>(user);
  if (file->error_.empty()) file->error_ = formatted(format, arguments);
  return 1;
}

/// A palette that is cut off is only worth a warning to libtiff, which then takes the picture for a
/// grey one.
int TiffFile::keep_lost_palette(TIFF*, void* user, const char*, const char* format,
                                va_list arguments) {
  const std::string text = formatted(format, arguments);
  if (text.find("IO error") != std::string::npos && text.find("ColorMap") != std::string::npos) {
    static_cast<TiffFile*>(user)->palette_lost_ = true;
  }
  return 1;
}

}  // namespace blip
