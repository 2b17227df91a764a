#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it

#include <jpeglib.h>

#include "blip/image/codecs.h"
#include "blip/image/orientation.h"

namespace blip {
namespace {

constexpr char kFormat[] = "JPEG";
/// Real progressive files have about ten scans; each costs a walk over the whole picture.
constexpr int kMaxScans = 100;

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  const char* own_message;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  (*info->err->format_message)(info, errors->message);
  std::longjmp(errors->jump, 1);
}

[[noreturn]] void fail_with(j_common_ptr info, const char* message) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->own_message = message;
  std::longjmp(errors->jump, 1);
}

boolean fail_at_end(j_decompress_ptr info) {
  fail_with(reinterpret_cast<j_common_ptr>(info), "the data is cut short");
}

void skip_input(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<unsigned long>(count) > info->src->bytes_in_buffer) fail_at_end(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

void limit_scans(j_common_ptr info) {
  if (info->is_decompressor != 0 &&
      reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    fail_with(info, "it has more than 100 scans");
  }
}

/// libjpeg reports errors by longjmp, which must not skip a destructor: every call into it is made
/// in a step that owns nothing, and comes back as an exception after the jump.
class Decompressor {
 public:
  explicit Decompressor(Bytes bytes) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = fail;
    errors_.base.emit_message = [](j_common_ptr, int) {};  // odd but decodable: PIL is silent too
    errors_.base.output_message = [](j_common_ptr) {};
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = fail_at_end;
    source_.skip_input_data = skip_input;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    source_.next_input_byte = bytes.data();
    source_.bytes_in_buffer = bytes.size();
    progress_.progress_monitor = limit_scans;
    run([&] {
      jpeg_create_decompress(&info_);
      info_.src = &source_;
      info_.progress = &progress_;
    });
  }
  ~Decompressor() { jpeg_destroy_decompress(&info_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  void read_header(bool keep_exif) {
    run([&] {
      constexpr unsigned kMaxMarker = 0xFFFF;
      if (keep_exif) jpeg_save_markers(&info_, JPEG_APP0 + 1, kMaxMarker);
      jpeg_read_header(&info_, TRUE);
    });
  }
  void start(J_COLOR_SPACE color_space) {
    run([&] {
      info_.out_color_space = color_space;
      info_.dct_method = JDCT_ISLOW;
      info_.do_fancy_upsampling = TRUE;
      jpeg_start_decompress(&info_);
    });
  }
  void read_row(std::uint8_t* row) {
    run([&] { jpeg_read_scanlines(&info_, &row, 1); });
  }
  void finish() {
    run([&] { jpeg_finish_decompress(&info_); });
  }

  const jpeg_decompress_struct& info() const { return info_; }

 private:
  template <typename Step>
  void run(Step step) {
    errors_.own_message = nullptr;
    if (setjmp(errors_.jump) != 0) {
      throw damaged(kFormat,
                    errors_.own_message != nullptr ? errors_.own_message : errors_.message);
    }
    step();
  }

  // All zero, so that destroying is harmless even where creating failed.
  jpeg_decompress_struct info_ = {};
  ErrorManager errors_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
};

int orientation_of(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with("Exif")) return exif_orientation(Bytes(marker->data, marker->data_length));
  }
  return 1;
}

/// Four-ink JPEGs are stored inverted, as Adobe does; PIL takes that for granted.
void read_cmyk(Decompressor& decompressor, Pixels& pixels) {
  const auto width = static_cast<std::size_t>(pixels.width);
  std::vector<std::uint8_t> inks(width * 4);
  std::uint8_t* out = pixels.values.data();
  for (int y = 0; y < pixels.height; ++y) {
    decompressor.read_row(inks.data());
    const std::uint8_t* in = inks.data();
    for (std::size_t x = 0; x < width; ++x, in += 4, out += 3) {
      for (int c = 0; c < 3; ++c) out[c] = from_ink(255u - in[c], 255u - in[3]);
    }
  }
}

}  // namespace

Pixels decode_jpeg(Bytes bytes, const ImageOptions& options) {
  Decompressor decompressor(bytes);
  decompressor.read_header(options.exif_orientation);
  const jpeg_decompress_struct& info = decompressor.info();
  check_size(info.image_width, info.image_height, kFormat, options);
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    throw unhandled(kFormat, "with " + std::to_string(components) + " components");
  }
  decompressor.start(components == 4 ? JCS_CMYK : JCS_RGB);

  Pixels pixels(static_cast<int>(info.image_width), static_cast<int>(info.image_height), 3);
  if (options.exif_orientation) pixels.orientation = orientation_of(info);
  if (components == 4) {
    read_cmyk(decompressor, pixels);
  } else {
    std::uint8_t* row = pixels.values.data();
    for (int y = 0; y < pixels.height; ++y, row += std::size_t(pixels.width) * 3) {
      decompressor.read_row(row);
    }
  }
  decompressor.finish();
  return pixels;
}

}  // namespace blip
