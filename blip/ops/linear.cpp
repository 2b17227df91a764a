#include "blip/ops/linear.h"

#include <algorithm>
#include <string>

#include "blip/base/error.h"
#include "blip/ops/matmul.h"

namespace blip {

Linear::Linear(Weight weight, Weight bias) : weight_(std::move(weight)), bias_(std::move(bias)) {
  out_ = static_cast<std::size_t>(weight_.dim(0));
  in_ = weight_.size() / std::max<std::size_t>(out_, 1);
}

void Linear::forward(const float* x, std::size_t rows, float* y, Epilogue::Activation activation,
                     const float* residual) const {
  const Epilogue epilogue{bias_.data(), activation, residual};
  if (rows <= kFewRows) {
    matmul_few_rows(x, weight_.data(), rows, out_, in_, y);
  } else {
    matmul({x, rows, in_, in_}, {weight_.data(), out_, in_, in_}, true, {y, rows, out_, out_});
  }
  if (epilogue.bias == nullptr && epilogue.residual == nullptr &&
      activation == Epilogue::Activation::none) {
    return;
  }
  constexpr std::size_t kRowBlock = 16;
  const std::size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
#pragma omp parallel for schedule(static) if (rows * out_ > 65536)
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t first = i * kRowBlock;
    Epilogue part = epilogue;
    if (part.residual != nullptr) part.residual += first * out_;
    apply_epilogue(part, std::min(kRowBlock, rows - first), out_, 0, out_, y + first * out_);
  }
}

}  // namespace blip
