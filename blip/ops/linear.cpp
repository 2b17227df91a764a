#include "blip/ops/linear.h"

#include <omp.h>

#include <algorithm>
#include <exception>

#include "blip/ops/matmul.h"
#include "blip/ops/threads.h"

namespace blip {

Linear::Linear(Weight weight, Weight bias) : weight_(std::move(weight)), bias_(std::move(bias)) {
  out_ = static_cast<std::size_t>(weight_.dim(0));
  in_ = weight_.size() / std::max<std::size_t>(out_, 1);
}

void Linear::forward(const float* x, std::size_t rows, float* y, Epilogue::Activation activation,
                     const float* residual) const {
  matmul_few_rows(x, weight_.data(), rows, out_, in_, y);
  finish_rows({bias_.data(), activation, residual}, rows, y);
}

void Linear::forward_many(const float* x, std::size_t rows, float* y,
                          Epilogue::Activation activation, const float* residual) const {
  const Epilogue epilogue{bias_.data(), activation, residual};
  // With enough columns for every thread, each makes its own and finishes them while they are near.
  constexpr std::size_t kLeastColumns = 256;
  const auto parts = static_cast<std::size_t>(omp_get_max_threads());
  if (out_ < parts * kLeastColumns) {
    matmul({x, rows, in_, in_}, {weight_.data(), out_, in_, in_}, true, {y, rows, out_, out_});
    finish_rows(epilogue, rows, y);
    return;
  }
  const std::size_t width = (out_ + parts - 1) / parts;
  std::exception_ptr error;  // may not leave a parallel region
#pragma omp parallel for schedule(static, 1)
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t begin = std::min(part * width, out_), end = std::min(begin + width, out_);
    if (begin == end) continue;
    try {
      matmul({x, rows, in_, in_}, {weight_.data() + begin * in_, end - begin, in_, in_}, true,
             {y + begin, rows, end - begin, out_});
      apply_epilogue(epilogue, rows, out_, begin, end, y);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

void Linear::finish_rows(const Epilogue& epilogue, std::size_t rows, float* y) const {
  if (epilogue.does_nothing()) return;
  constexpr std::size_t kRowBlock = 16;
  const std::size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
#pragma omp parallel for schedule(static) if (worth_threads(4 * rows * out_))
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t first = i * kRowBlock;
    Epilogue part = epilogue;
    if (part.residual != nullptr) part.residual += first * out_;
    apply_epilogue(part, std::min(kRowBlock, rows - first), out_, 0, out_, y + first * out_);
  }
}

}  // namespace blip
