#pragma once

#include <cstddef>
#include <cstdint>

namespace blip {

/// x = scale * (q - zero_point) for a row of quantised activations.
struct RowScale {
  float scale;
  std::int32_t zero_point;
};

/// Where rows of bytes go: each in pieces of 64 bytes.
struct PiecedRows {
  std::uint8_t* first;
  std::size_t row_step;    ///< bytes from one row's first piece to the next row's
  std::size_t piece_step;  ///< from one piece of a row to the next
};

/// Quantises each row of x [rows, width] to 0..activation_levels() over its own range, which always
/// takes in 0. `smoothing` [width] multiplies x first, or is null. `scales` [rows]. Values that are
/// no numbers become the zero point. Parallel over rows.
void quantize_rows(const float* x, std::size_t rows, std::size_t width, const float* smoothing,
                   const PiecedRows& q, RowScale* scales);
/// The same, q [rows, width].
void quantize_rows(const float* x, std::size_t rows, std::size_t width, const float* smoothing,
                   std::uint8_t* q, RowScale* scales);

/// y = x rounded to bf16, nearest even. Serial.
void round_to_bf16(const float* x, std::size_t size, std::uint16_t* y);
/// y = the f32 of bf16 x. Serial.
void widen_bf16(const std::uint16_t* x, std::size_t size, float* y);

/// The scale and the values -127..127 of one row of weights, divided by `smoothing` first unless
/// null. Returns the sum of the values. Serial.
std::int32_t quantize_weights(const float* w, std::size_t width, const float* smoothing,
                              std::int8_t* q, float& scale);

}  // namespace blip
