#pragma once

#include <span>
#include <vector>

namespace blip {

/// Resamples a grid of embeddings [rows, columns, width] to [new_rows, new_columns, width] as
/// torch.nn.functional.interpolate(mode="bicubic", align_corners=False) does: a = -0.75, source
/// coordinate (i + 0.5) * old / new - 0.5, borders repeated.
struct EmbeddingGrid {
  int rows;
  int columns;
};
std::vector<float> interpolate_bicubic(std::span<const float> embeddings, int width,
                                       EmbeddingGrid from, EmbeddingGrid to);

}  // namespace blip
