#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "blip/base/precision.h"
#include "blip/base/tensor.h"

namespace blip {

/// Rows of a weight matrix, columns of its product, that are multiplied at once in tiles (tiles.h).
inline constexpr std::size_t kPanel = 32;

/// The weights [out, in] of a linear layer in one precision. Immutable; cheap to copy, copies share
/// the memory.
struct WeightMatrix {
  Precision precision = Precision::f32;
  std::size_t out = 0;
  std::size_t in = 0;
  const void* data = nullptr;  ///< float, bf16 as std::uint16_t, or std::int8_t
  /// Whether `data` is as tiles read it instead of row-major: panels of 32 rows, each [bytes of a
  /// row / 64, 2, 16, 64], where 64 bytes hold four bytes of each of 16 rows. Then it can be
  /// multiplied with many rows alone.
  bool panels = false;
  std::shared_ptr<const void> keep_alive;

  // int8 alone:
  Weight scales;     ///< [out]: weight = data * scale
  Weight smoothing;  ///< [in]: what inputs are multiplied by before they are quantised; the weights
                     ///< are divided by it. Empty: nothing (SmoothQuant, arXiv 2211.10438)
  std::shared_ptr<const std::vector<std::int32_t>> sums;  ///< [out]: sum of each row of `data`

  // Of row-major ones:
  const float* f32() const { return static_cast<const float*>(data); }
  const std::uint16_t* bf16() const { return static_cast<const std::uint16_t*>(data); }
  const std::int8_t* int8() const { return static_cast<const std::int8_t*>(data); }
  /// Bytes that one pass over the weights reads.
  std::size_t bytes() const;
  /// Row `i` as f32, [in].
  void copy_row(std::size_t i, float* y) const;
};

/// The first axis of `weight` is out; the others together are in.
WeightMatrix to_matrix(const Weight& weight);
/// Rounded to nearest even.
WeightMatrix to_bf16(const Weight& weight);
/// Each row divided by its largest magnitude / 127 and rounded. `smoothing` [in] or empty.
WeightMatrix to_int8(const Weight& weight, const Weight& smoothing);

/// Whether weights of these sizes fill whole panels.
bool fills_panels(const WeightMatrix& matrix);
/// The same weights in panels; as they are where they do not fill them.
WeightMatrix in_panels(const WeightMatrix& matrix);
/// The same weights row-major.
WeightMatrix row_major(const WeightMatrix& matrix);

/// What a bf16 checkpoint already holds, used in place; its bytes must be aligned for 16 bits.
WeightMatrix bf16_matrix(const StoredTensor& weight);

/// Beside the values of an int8 matrix in a checkpoint.
struct Int8Parameters {
  Weight scales;     ///< [out]
  Weight sums;       ///< [out] of each row's values: stored, so that a start need not read them all
  Weight smoothing;  ///< [in], or empty
};
/// What an int8 checkpoint holds, used in place. Throws Error{bad_model} for sizes that do not
/// agree, scales that are no positive numbers, and sums that no row could have.
WeightMatrix int8_matrix(const StoredTensor& weight, const Int8Parameters& parameters);

}  // namespace blip
