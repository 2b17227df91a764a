#include "blip/index/calibrate.h"

#include <algorithm>

namespace blip {

std::vector<std::uint32_t> sample_queries(std::span<const std::uint32_t> rows) {
  constexpr std::size_t kQueries = 256;
  constexpr std::size_t kFew = 2048;
  std::vector<std::uint32_t> sample;
  if (rows.size() < kFew) return sample;
  for (std::size_t i = 0; i < kQueries; ++i) sample.push_back(rows[i * rows.size() / kQueries]);
  return sample;
}

double recall(const std::vector<std::vector<Neighbour>>& truth,
              const std::vector<std::vector<Neighbour>>& found) {
  constexpr float kRounding = 1e-6f;
  std::size_t wanted = 0, hits = 0;
  for (std::size_t q = 0; q < truth.size(); ++q) {
    if (truth[q].empty()) continue;
    const std::size_t count = std::min(kRecallAt, truth[q].size());
    const float least = truth[q][count - 1].similarity - kRounding;
    wanted += count;
    for (std::size_t i = 0; i < std::min(count, found[q].size()); ++i) {
      hits += static_cast<std::size_t>(found[q][i].similarity >= least);
    }
  }
  return wanted == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(wanted);
}

Calibration calibrate(
    const std::vector<std::vector<Neighbour>>& truth,
    const std::function<std::vector<std::vector<Neighbour>>(std::size_t effort)>& search,
    std::size_t first, std::size_t limit) {
  constexpr double kTarget = 0.995;
  for (std::size_t effort = first; effort < limit; effort *= 2) {
    const double reached = recall(truth, search(effort));
    if (reached < kTarget) continue;
    const std::size_t less = effort - effort / 4;
    const double reached_by_less = effort == first ? 0 : recall(truth, search(less));
    if (reached_by_less >= kTarget) return {static_cast<int>(less), reached_by_less};
    return {static_cast<int>(effort), reached};
  }
  return {};
}

}  // namespace blip
