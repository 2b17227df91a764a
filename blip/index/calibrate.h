#pragma once

#include <functional>
#include <span>
#include <vector>

#include "blip/index/scan.h"

namespace blip {

/// The 10 nearest that the recall of an index is measured by.
inline constexpr std::size_t kRecallAt = 10;

/// What a search must look at to find nearly all of what is near.
struct Calibration {
  int effort = 0;
  double recall = 0;
};

/// Rows spread over `rows` to be used as queries, at most 256; none when there are so few rows that
/// looking at all of them is quick.
std::vector<std::uint32_t> sample_queries(std::span<const std::uint32_t> rows);

/// The least effort, doubling from `first` and below `limit`, or three quarters of that, with which
/// `search` finds 99.5 % of the `truth`, so that the true recall is 99 % or more however the sample
/// fell. Effort 0: none.
Calibration calibrate(
    const std::vector<std::vector<Neighbour>>& truth,
    const std::function<std::vector<std::vector<Neighbour>>(std::size_t effort)>& search,
    std::size_t first, std::size_t limit);

/// Share of the nearest kRecallAt that `found` has. Others that are as near as the last of `truth`
/// count too: of equal vectors any will do.
double recall(const std::vector<std::vector<Neighbour>>& truth,
              const std::vector<std::vector<Neighbour>>& found);

}  // namespace blip
