#include "blip/ops/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "blip/ops/linear.h"

namespace blip {
namespace {

/// Shortest of a few runs, seconds, after one that is not counted.
template <class Work>
double shortest(const Work& work) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 1e30;
  for (int run = 0; run < 5; ++run) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

double measured_operations(Precision precision, const Context& context) {
  const ThreadScope threads(context);
  constexpr std::size_t kSize = 1536;
  const auto size = static_cast<std::int64_t>(kSize);
  const std::vector<float> values(kSize * kSize, 0.5f);
  const Weight weight({size, size}, values.data(), nullptr);
  const WeightMatrix matrix = precision == Precision::f32    ? to_matrix(weight)
                              : precision == Precision::bf16 ? to_bf16(weight)
                                                             : to_int8(weight, {});
  const Linear linear(matrix, {});
  FloatBuffer y(kSize * kSize);
  const double seconds = shortest([&] { linear.forward_many(values.data(), kSize, y.data()); });
  return 2.0 * kSize * kSize * kSize / seconds;
}

double measured_bandwidth(const Context& context) {
  const ThreadScope threads(context);
  constexpr std::size_t kWords = std::size_t{48} << 20;  // 384 MB: more than any cache
  const std::vector<std::uint64_t> words(kWords, 1);
  std::uint64_t total = 0;
  const double seconds = shortest([&] {
    std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (std::size_t i = 0; i < kWords; ++i) sum += words[i];
    total += sum;
  });
  // The sum is used, so that the reading is not left out.
  return total == 0 ? 0 : static_cast<double>(kWords * sizeof(std::uint64_t)) / seconds;
}

}  // namespace blip
