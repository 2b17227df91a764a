#include "blip/ops/weight_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "blip/base/error.h"
#include "blip/ops/isa.h"
#include "blip/ops/quantize.h"
#include "blip/ops/tile_kernels.h"

namespace blip {
namespace {

/// A matrix of the size of `weight` without its values.
WeightMatrix sized(const Shape& shape, Precision precision) {
  WeightMatrix matrix;
  matrix.precision = precision;
  matrix.out = static_cast<std::size_t>(shape.at(0));
  matrix.in = element_count(shape) / std::max<std::size_t>(matrix.out, 1);
  return matrix;
}

/// The words of 32 bits of row `n` of a matrix in panels, by move(word of the row, word of the
/// panels).
template <class Move>
void for_words(std::size_t n, std::size_t row_bytes, const Move& move) {
  constexpr std::size_t kWords = kPiece / 4, kHalf = kPackedBytes / 4;
  std::size_t at = n / kPanel * kPanel * row_bytes / 4 + n / kLanes % 2 * kHalf + n % kLanes;
  for (std::size_t i = 0; i < row_bytes / 4; i += kWords, at += 2 * kHalf) {
    for (std::size_t k = 0; k < kWords; ++k) move(i + k, at + k * kLanes);
  }
}

/// `matrix` with other memory for its values, and where that is: aligned, as vectors are read fast.
std::pair<WeightMatrix, std::byte*> rearranged(const WeightMatrix& matrix, bool panels) {
  const auto values = std::make_shared<FloatBuffer>(matrix.out * matrix.in *
                                                    size_of(matrix.precision) / sizeof(float));
  WeightMatrix other = matrix;
  other.data = values->data();
  other.keep_alive = values;
  other.panels = panels;
  return {other, reinterpret_cast<std::byte*>(values->data())};
}

/// Row `n` of a matrix in panels.
void take_row(const WeightMatrix& matrix, std::size_t n, void* row) {
  const auto* from = static_cast<const std::byte*>(matrix.data);
  auto* to = static_cast<std::byte*>(row);
  for_words(n, matrix.in * size_of(matrix.precision),
            [&](std::size_t i, std::size_t at) { std::memcpy(to + 4 * i, from + 4 * at, 4); });
}

template <class T>
T* allocate(WeightMatrix& matrix) {
  const std::shared_ptr<T[]> values(new T[matrix.out * matrix.in]);
  matrix.data = values.get();
  matrix.keep_alive = values;
  return values.get();
}

Weight own(std::vector<float> values) {
  const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  return Weight({static_cast<std::int64_t>(kept->size())}, kept->data(), kept);
}

}  // namespace

std::size_t WeightMatrix::bytes() const {
  return out * in * size_of(precision) + scales.size() * sizeof(float);
}

void WeightMatrix::copy_row(std::size_t i, float* y) const {
  const std::size_t row_bytes = in * size_of(precision);
  const void* row = static_cast<const std::byte*>(data) + i * row_bytes;
  std::vector<std::byte> gathered;
  if (panels) {
    gathered.resize(row_bytes);
    take_row(*this, i, gathered.data());
    row = gathered.data();
  }
  switch (precision) {
    case Precision::f32:
      std::copy_n(static_cast<const float*>(row), in, y);
      break;
    case Precision::bf16:
      widen_bf16(static_cast<const std::uint16_t*>(row), in, y);
      break;
    case Precision::int8:
      for (std::size_t k = 0; k < in; ++k) {
        y[k] = static_cast<float>(static_cast<const std::int8_t*>(row)[k]) * scales.data()[i];
        if (!smoothing.empty()) y[k] *= smoothing.data()[k];
      }
      break;
  }
}

bool fills_panels(const WeightMatrix& matrix) {
  return matrix.out % kPanel == 0 && matrix.in * size_of(matrix.precision) % kPiece == 0;
}

WeightMatrix in_panels(const WeightMatrix& matrix) {
  if (matrix.panels || !fills_panels(matrix)) return matrix;
  const std::size_t row_bytes = matrix.in * size_of(matrix.precision);
  const auto packed = rearranged(matrix, true);
  const auto* from = static_cast<const std::byte*>(matrix.data);
  std::byte* const to = packed.second;
#pragma omp parallel for schedule(static)
  for (std::size_t n = 0; n < matrix.out; ++n) {
    for_words(n, row_bytes, [&](std::size_t i, std::size_t at) {
      std::memcpy(to + 4 * at, from + n * row_bytes + 4 * i, 4);
    });
  }
  return packed.first;
}

WeightMatrix row_major(const WeightMatrix& matrix) {
  if (!matrix.panels) return matrix;
  const auto rows = rearranged(matrix, false);
  std::byte* const to = rows.second;
  const std::size_t row_bytes = matrix.in * size_of(matrix.precision);
#pragma omp parallel for schedule(static)
  for (std::size_t n = 0; n < matrix.out; ++n) take_row(matrix, n, to + n * row_bytes);
  return rows.first;
}

WeightMatrix to_matrix(const Weight& weight) {
  WeightMatrix matrix = sized(weight.shape(), Precision::f32);
  matrix.data = weight.data();
  matrix.keep_alive = std::make_shared<const Weight>(weight);
  return matrix;
}

WeightMatrix to_bf16(const Weight& weight) {
  active_isa();  // settles what is dispatched to
  WeightMatrix matrix = sized(weight.shape(), Precision::bf16);
  auto* values = allocate<std::uint16_t>(matrix);
#pragma omp parallel for schedule(static)
  for (std::size_t r = 0; r < matrix.out; ++r) {
    round_to_bf16(weight.data() + r * matrix.in, matrix.in, values + r * matrix.in);
  }
  return matrix;
}

WeightMatrix to_int8(const Weight& weight, const Weight& smoothing) {
  active_isa();
  WeightMatrix matrix = sized(weight.shape(), Precision::int8);
  if (!smoothing.empty() && smoothing.size() != matrix.in) {
    throw Error(ErrorCode::internal, "smoothing of another width than the weights'");
  }
  auto* values = allocate<std::int8_t>(matrix);
  std::vector<float> scales(matrix.out);
  std::vector<std::int32_t> sums(matrix.out);
#pragma omp parallel for schedule(static)
  for (std::size_t r = 0; r < matrix.out; ++r) {
    sums[r] = quantize_weights(weight.data() + r * matrix.in, matrix.in, smoothing.data(),
                               values + r * matrix.in, scales[r]);
  }
  matrix.scales = own(std::move(scales));
  matrix.smoothing = smoothing;
  matrix.sums = std::make_shared<const std::vector<std::int32_t>>(std::move(sums));
  return matrix;
}

WeightMatrix bf16_matrix(const StoredTensor& weight) {
  WeightMatrix matrix = sized(weight.shape, Precision::bf16);
  matrix.data = weight.bytes.data();
  matrix.keep_alive = weight.keep_alive;
  return matrix;
}

WeightMatrix int8_matrix(const StoredTensor& weight, const Int8Parameters& parameters) {
  WeightMatrix matrix = sized(weight.shape, Precision::int8);
  const auto all = [](const Weight& values, auto condition) {
    return std::all_of(values.span().begin(), values.span().end(), condition);
  };
  const auto positive = [](float v) { return std::isfinite(v) && v > 0; };
  const float largest_sum = 127.0f * static_cast<float>(matrix.in);
  const auto possible = [&](float v) { return std::fabs(v) <= largest_sum; };
  const Weight& smoothing = parameters.smoothing;
  if (parameters.scales.size() != matrix.out || parameters.sums.size() != matrix.out ||
      (!smoothing.empty() && smoothing.size() != matrix.in) || !all(parameters.scales, positive) ||
      !all(smoothing, positive) || !all(parameters.sums, possible)) {
    throw Error(ErrorCode::bad_model,
                "an int8 matrix of shape " + to_string(weight.shape) +
                    " needs a positive scale and a possible sum for each row, and a positive "
                    "smoothing factor for each column or none");
  }
  matrix.data = weight.bytes.data();
  matrix.keep_alive = weight.keep_alive;
  matrix.scales = parameters.scales;
  matrix.smoothing = smoothing;
  const auto sums = parameters.sums.span();
  matrix.sums = std::make_shared<const std::vector<std::int32_t>>(sums.begin(), sums.end());
  return matrix;
}

}  // namespace blip
