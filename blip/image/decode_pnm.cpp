#include <algorithm>
#include <cmath>

#include "blip/image/codecs.h"

// PNM holds plain numbers behind a header, so there is no codec to borrow.
namespace blip {
namespace {

constexpr char kFormat[] = "PNM";

[[noreturn]] void cut_short() {
  throw damaged(kFormat, "the data is cut short");
}

/// Walks over the words of the header and of the plain variants; comments run from # to the line's
/// end.
class Scanner {
 public:
  explicit Scanner(Bytes bytes) : bytes_(bytes) {}

  std::size_t position() const { return at_; }

  /// A decimal number and the one white space behind it.
  std::uint32_t number() {
    constexpr int kMaxDigits = 9;  // fits 32 bits
    skip_space();
    std::uint32_t value = 0;
    int digits = 0;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_, ++digits) {
      if (digits == kMaxDigits) throw damaged(kFormat, "a number is too long");
      value = value * 10 + (bytes_[at_] - unsigned{'0'});
    }
    if (digits == 0 && at_ == bytes_.size()) cut_short();
    if (at_ < bytes_.size() && bytes_[at_] == '#') skip_comment();
    if (digits == 0 || (at_ < bytes_.size() && !is_space(bytes_[at_]))) {
      throw damaged(kFormat, "a number was expected at byte " + std::to_string(at_));
    }
    if (at_ < bytes_.size()) ++at_;
    return value;
  }

  /// A single 0 or 1; white space between them may be left out.
  bool bit() {
    skip_space();
    if (at_ == bytes_.size()) cut_short();
    const std::uint8_t digit = bytes_[at_];
    if (digit != '0' && digit != '1') {
      throw damaged(kFormat, "0 or 1 was expected at byte " + std::to_string(at_));
    }
    ++at_;
    return digit == '1';
  }

 private:
  static bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

  void skip_comment() {
    while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
  }

  void skip_space() {
    for (; at_ < bytes_.size(); ++at_) {
      if (bytes_[at_] == '#') skip_comment();
      if (at_ == bytes_.size() || !is_space(bytes_[at_])) return;
    }
  }

  Bytes bytes_;
  std::size_t at_ = 2;  ///< behind "P5"
};

/// The 8-bit value of each sample, rounded half to even as PIL does. PIL keeps grey of more than
/// 8 bits as 16 bits and then clips it, so that nearly all of it is white.
std::vector<std::uint8_t> scale_table(std::uint32_t max_value, bool color) {
  const double top = !color && max_value > 255 ? 65535 : 255;
  std::vector<std::uint8_t> table(max_value > 255 ? 65536 : 256);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double value = std::nearbyint(static_cast<double>(i) / max_value * top);
    table[i] = static_cast<std::uint8_t>(std::min(value, 255.0));
  }
  return table;
}

void read_bits(Bytes bytes, Scanner& scanner, bool plain, Pixels& pixels) {
  const auto width = static_cast<std::size_t>(pixels.width);
  std::size_t row = scanner.position();
  std::uint8_t* out = pixels.values.data();
  for (int y = 0; y < pixels.height; ++y, row += (width + 7) / 8) {
    for (std::size_t x = 0; x < width; ++x, out += 3) {
      const bool black = plain ? scanner.bit() : (bytes[row + x / 8] >> (7 - x % 8) & 1) != 0;
      out[0] = out[1] = out[2] = black ? 0 : 255;
    }
  }
}

struct Samples {
  std::uint32_t max_value;
  bool plain;
  bool color;
};

void read_samples(Bytes bytes, Scanner& scanner, const Samples& samples, Pixels& pixels) {
  const std::vector<std::uint8_t> table = scale_table(samples.max_value, samples.color);
  const std::uint8_t* in = bytes.data() + scanner.position();
  const auto next = [&]() -> std::uint8_t {
    std::uint32_t value = 0;
    if (samples.plain) {
      value = scanner.number();
      if (value > samples.max_value) throw damaged(kFormat, "a sample is above the largest value");
    } else {
      value = *in++;
      if (samples.max_value > 255) value = value << 8 | *in++;
    }
    return table[value];
  };
  std::uint8_t* out = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i, out += 3) {
    out[0] = next();
    out[1] = samples.color ? next() : out[0];
    out[2] = samples.color ? next() : out[0];
  }
}

}  // namespace

Pixels decode_pnm(Bytes bytes, const ImageOptions& options) {
  const int kind = bytes[1] - '0';
  const bool plain = kind <= 3;
  const bool bitmap = kind == 1 || kind == 4;
  const bool color = kind == 3 || kind == 6;
  Scanner scanner(bytes);
  const std::uint64_t width = scanner.number();
  const std::uint64_t height = scanner.number();
  const std::uint32_t max_value = bitmap ? 1 : scanner.number();
  if (max_value == 0 || max_value > 65535)
    throw damaged(kFormat, "its largest value is not in 1..65535");
  check_size(width, height, kFormat, options);

  // At least this much must follow, which also bounds what is allocated by the file's size.
  std::uint64_t row_bytes = width * (color ? 3 : 1);
  if (!plain) row_bytes = bitmap ? (width + 7) / 8 : row_bytes * (max_value > 255 ? 2 : 1);
  if (bytes.size() - scanner.position() < row_bytes * height) cut_short();

  Pixels pixels(static_cast<int>(width), static_cast<int>(height), 3);
  if (bitmap) {
    read_bits(bytes, scanner, plain, pixels);
  } else {
    read_samples(bytes, scanner, Samples{max_value, plain, color}, pixels);
  }
  return pixels;
}

}  // namespace blip
