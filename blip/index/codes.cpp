#include "blip/index/codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "blip/base/error.h"
#include "blip/ops/quantize.h"

namespace blip {
namespace {

constexpr std::size_t kAlignment = sizeof(float);
constexpr std::size_t kBatch = 4096;  // rows between two looks at the stop flag
constexpr std::size_t kCacheLine = 64;

/// Bytes of the values, with what aligns the scales behind them.
std::size_t value_bytes(std::size_t rows, std::size_t width) {
  return (rows * width + kAlignment - 1) / kAlignment * kAlignment;
}

void write_bytes(std::ostream& out, std::span<const std::byte> bytes) {
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

void CodeQuery::set(const float* vector) {
  float most = 0;
  for (std::size_t i = 0; i < values.size(); ++i) most = std::max(most, std::fabs(vector[i]));
  // No sum of products with codes may leave 32 bits.
  const std::size_t limit = std::numeric_limits<std::int32_t>::max() / (128 * values.size());
  const auto largest = static_cast<float>(std::min<std::size_t>(limit, 32767));
  scale = most > 0 && std::isfinite(most) ? most / largest : 1.0f;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = std::clamp(vector[i] / scale, -largest, largest);
    values[i] = std::isnan(value) ? std::int16_t{0} : static_cast<std::int16_t>(std::lrint(value));
  }
}

void CodeQuery::set(const Codes& codes, std::size_t row) {
  std::copy_n(codes[row], values.size(), values.begin());
  scale = codes.scale(row);
}

Codes Codes::of(const VectorView& vectors, const Context& context) {
  auto bytes = std::make_shared<std::vector<std::byte>>(value_bytes(vectors.count, vectors.width) +
                                                        vectors.count * sizeof(float));
  auto* values = reinterpret_cast<std::int8_t*>(bytes->data());
  auto* scales =
      reinterpret_cast<float*>(bytes->data() + value_bytes(vectors.count, vectors.width));
  for (std::size_t row = 0; row < vectors.count; ++row) {
    if (row % kBatch == 0) context.check_stop();
    quantize_weights(vectors[row], vectors.width, nullptr, values + row * vectors.width,
                     scales[row]);
  }
  Codes codes = parse(*bytes, vectors.count, vectors.width, "memory");
  codes.owner_ = bytes;
  return codes;
}

void Codes::write(std::ostream& out, const VectorView& vectors, const Context& context) {
  std::vector<float> scales(vectors.count);
  std::vector<std::int8_t> code(vectors.width);
  for (std::size_t row = 0; row < vectors.count; ++row) {
    if (row % kBatch == 0) context.check_stop();
    quantize_weights(vectors[row], vectors.width, nullptr, code.data(), scales[row]);
    write_bytes(out, std::as_bytes(std::span(code)));
  }
  const std::size_t values = vectors.count * vectors.width;
  const std::byte padding[kAlignment] = {};
  write_bytes(out, std::span(padding).first(value_bytes(vectors.count, vectors.width) - values));
  write_bytes(out, std::as_bytes(std::span(scales)));
}

Codes Codes::parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                   std::string_view where) {
  const std::size_t values = value_bytes(rows, width);
  if (bytes.size() != values + rows * sizeof(float)) {
    throw Error(ErrorCode::io, std::string(where) + " has another size than its rows need");
  }
  Codes codes;
  codes.width_ = width;
  codes.values_ = reinterpret_cast<const std::int8_t*>(bytes.data());
  codes.scales_ = {reinterpret_cast<const float*>(bytes.data() + values), rows};
  codes.product_ = code_product();
  return codes;
}

Codes Codes::parse(std::shared_ptr<const MappedFile> file, std::size_t rows, std::size_t width) {
  Codes codes = parse(file->bytes(), rows, width, file->path().string());
  codes.owner_ = std::move(file);
  return codes;
}

float Codes::similarity(const CodeQuery& query, std::size_t row) const {
  const std::int32_t product = product_(query.values.data(), (*this)[row], width_);
  const float s = static_cast<float>(product) * query.scale * scales_[row];
  return std::isnan(s) ? std::numeric_limits<float>::lowest() : s;
}

void Codes::prefetch(std::size_t row) const {
  const std::int8_t* code = (*this)[row];
  for (std::size_t at = 0; at < width_; at += kCacheLine) __builtin_prefetch(code + at);
  __builtin_prefetch(&scales_[row]);
}

std::vector<Neighbour> judge(const CodedRows& rows, const float* query,
                             std::vector<Neighbour>& candidates, std::size_t k) {
  if (!rows.left_out.empty()) {
    std::erase_if(candidates, [&](const Neighbour& n) { return rows.left_out[n.row]; });
  }
  // Codes are wrong by less than lies between the k nearest and so many more.
  const std::size_t judged = std::min(4 * k + 64, candidates.size());
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(judged);
  std::nth_element(candidates.begin(), end, candidates.end(), is_nearer);
  const DotProduct dot = dot_product();
  Nearest nearest(k);
  for (std::size_t i = 0; i < judged; ++i) {
    const std::uint32_t row = candidates[i].row;
    nearest.offer({row, dot(query, rows.vectors[row], rows.vectors.width)});
  }
  return nearest.take();
}

}  // namespace blip
