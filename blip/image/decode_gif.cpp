#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <memory>

#include "blip/image/codecs.h"

namespace blip {
namespace {

constexpr char kFormat[] = "GIF";
constexpr std::array kInterlaceStart = {0, 4, 2, 1};
constexpr std::array kInterlaceStep = {8, 8, 4, 2};

int read(GifFileType* gif, GifByteType* out, int size) {
  auto* rest = static_cast<Bytes*>(gif->UserData);
  const std::size_t count = std::min(rest->size(), static_cast<std::size_t>(std::max(size, 0)));
  std::copy_n(rest->begin(), count, out);
  *rest = rest->subspan(count);
  return static_cast<int>(count);
}

struct Close {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

void check(const GifFileType& gif, int status) {
  if (status == GIF_OK) return;
  if (gif.Error == D_GIF_ERR_NOT_ENOUGH_MEM) throw std::bad_alloc();
  if (gif.Error == D_GIF_ERR_READ_FAILED || gif.Error == D_GIF_ERR_EOF_TOO_SOON) {
    throw damaged(kFormat, "the data is cut short");
  }
  const char* message = GifErrorString(gif.Error);
  throw damaged(kFormat, message != nullptr ? message : "the data does not decode");
}

/// Reads up to the first frame's pixels; returns the frame's transparent index, or -1.
int read_to_first_frame(GifFileType* gif) {
  int transparent = -1;
  for (;;) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    check(*gif, DGifGetRecordType(gif, &type));
    if (type == IMAGE_DESC_RECORD_TYPE) {
      check(*gif, DGifGetImageDesc(gif));
      return transparent;
    }
    if (type != EXTENSION_RECORD_TYPE) throw damaged(kFormat, "it has no frame");
    int code = 0;
    GifByteType* block = nullptr;
    check(*gif, DGifGetExtension(gif, &code, &block));
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK &&
        control.TransparentColor != NO_TRANSPARENT_COLOR) {
      transparent = control.TransparentColor;
    }
    while (block != nullptr) check(*gif, DGifGetExtensionNext(gif, &block));
  }
}

/// The frame's colours; without a map an index is a grey value, and indices beyond it are black.
std::array<std::uint8_t, 256 * 3> palette_of(const GifFileType& gif, int transparent) {
  std::array<std::uint8_t, 256 * 3> palette = {};
  const ColorMapObject* map = gif.Image.ColorMap != nullptr ? gif.Image.ColorMap : gif.SColorMap;
  for (int i = 0; i < 256; ++i) {
    std::uint8_t* color = palette.data() + i * 3;
    if (i == transparent) {
      color[0] = color[1] = color[2] = 255;
    } else if (map == nullptr) {
      color[0] = color[1] = color[2] = static_cast<std::uint8_t>(i);
    } else if (i < map->ColorCount) {
      color[0] = map->Colors[i].Red;
      color[1] = map->Colors[i].Green;
      color[2] = map->Colors[i].Blue;
    }
  }
  return palette;
}

class FramePainter {
 public:
  FramePainter(GifFileType* gif, Pixels& canvas, const std::array<std::uint8_t, 256 * 3>& palette)
      : gif_(gif), canvas_(canvas), palette_(palette), indices_(std::size_t(gif->Image.Width)) {}

  void paint() {
    const GifImageDesc& frame = gif_->Image;
    if (!frame.Interlace) {
      for (int y = 0; y < frame.Height; ++y) paint_row(y);
      return;
    }
    for (std::size_t pass = 0; pass < kInterlaceStart.size(); ++pass) {
      for (int y = kInterlaceStart[pass]; y < frame.Height; y += kInterlaceStep[pass]) paint_row(y);
    }
  }

 private:
  void paint_row(int y) {
    const GifImageDesc& frame = gif_->Image;
    check(*gif_, DGifGetLine(gif_, indices_.data(), frame.Width));
    std::uint8_t* out =
        canvas_.values.data() +
        (std::size_t(frame.Top + y) * std::size_t(canvas_.width) + std::size_t(frame.Left)) * 3;
    for (const std::uint8_t index : indices_) out = std::copy_n(&palette_[index * 3u], 3, out);
  }

  GifFileType* gif_;
  Pixels& canvas_;
  const std::array<std::uint8_t, 256 * 3>& palette_;
  std::vector<std::uint8_t> indices_;
};

}  // namespace

Pixels decode_gif(Bytes bytes, const ImageOptions& options) {
  Bytes rest = bytes;
  int error = 0;
  const std::unique_ptr<GifFileType, Close> gif(DGifOpen(&rest, read, &error));
  if (!gif) {
    if (error == D_GIF_ERR_NOT_ENOUGH_MEM) throw std::bad_alloc();
    throw damaged(kFormat, "the header is cut short");
  }
  const int transparent = read_to_first_frame(gif.get());
  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0) throw damaged(kFormat, "its first frame is empty");
  // A frame that reaches beyond the screen makes the picture larger, as in PIL.
  const int width = std::max(gif->SWidth, frame.Left + frame.Width);
  const int height = std::max(gif->SHeight, frame.Top + frame.Height);
  check_size(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), kFormat,
             options);

  const auto palette = palette_of(*gif, options.alpha == AlphaMode::white ? transparent : -1);
  Pixels pixels(width, height, 3);
  // What the frame leaves free shows the transparent colour, or the first.
  const std::uint8_t* background = palette.data() + std::max(transparent, 0) * 3;
  for (std::size_t i = 0; i < pixels.count(); ++i)
    std::copy_n(background, 3, &pixels.values[i * 3]);
  FramePainter(gif.get(), pixels, palette).paint();
  return pixels;
}

}  // namespace blip
