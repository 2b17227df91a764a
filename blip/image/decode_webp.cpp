#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "blip/image/codecs.h"
#include "blip/image/orientation.h"

namespace blip {
namespace {

constexpr char kFormat[] = "WebP";

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

void check(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OK:
      return;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw std::bad_alloc();
    case VP8_STATUS_NOT_ENOUGH_DATA:
      throw damaged(kFormat, "the data is cut short");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      throw unhandled(kFormat, "with unknown features");
    default:
      throw damaged(kFormat, "the data does not decode");
  }
}

/// Decodes the first frame (a still picture is one) to its place on the empty canvas.
void decode_frame(const WebPIterator& frame, Pixels& canvas) {
  if (frame.complete == 0) throw damaged(kFormat, "the data is cut short");
  if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width > canvas.width - frame.x_offset ||
      frame.height > canvas.height - frame.y_offset) {
    throw damaged(kFormat, "a frame reaches beyond the canvas");
  }
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0)
    throw Error(ErrorCode::internal, "libwebp does not fit its headers");
  const std::size_t stride = std::size_t(canvas.width) * std::size_t(canvas.channels);
  const std::size_t start = std::size_t(frame.y_offset) * stride +
                            std::size_t(frame.x_offset) * std::size_t(canvas.channels);
  config.output.colorspace = canvas.channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = canvas.values.data() + start;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = canvas.values.size() - start;
  check(WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &config.input));
  if (config.input.width != frame.width || config.input.height != frame.height) {
    throw damaged(kFormat, "a frame has another size than its header says");
  }
  check(WebPDecode(frame.fragment.bytes, frame.fragment.size, &config));
}

int orientation_of(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk = {};
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk) != 0) {
    orientation = exif_orientation(Bytes(chunk.chunk.bytes, chunk.chunk.size));
  }
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

Pixels decode_webp(Bytes bytes, const ImageOptions& options) {
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(bytes.data(), bytes.size(), &features));
  check_size(static_cast<std::uint64_t>(features.width),
             static_cast<std::uint64_t>(features.height), kFormat, options);
  const WebPData data = {bytes.data(), bytes.size()};
  const Demuxer demuxer(WebPDemux(&data), &WebPDemuxDelete);
  if (!demuxer) throw damaged(kFormat, "the data is cut short or its chunks do not fit together");

  const bool with_alpha = features.has_alpha != 0 && options.alpha == AlphaMode::white;
  Pixels pixels(features.width, features.height, with_alpha ? 4 : 3);
  WebPIterator frame = {};
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(
      &frame, &WebPDemuxReleaseIterator);
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) throw damaged(kFormat, "it has no frame");
  decode_frame(frame, pixels);
  if (options.exif_orientation) pixels.orientation = orientation_of(demuxer.get());
  return pixels;
}

}  // namespace blip
