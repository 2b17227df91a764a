#include "blip/metrics/nlvr_accuracy.h"

#include <algorithm>

namespace blip {
namespace {

double percent(std::size_t count, std::size_t all) {
  return all == 0 ? 0 : 100 * static_cast<double>(count) / static_cast<double>(all);
}

}  // namespace

void NlvrAccuracy::add(std::string_view sentence, bool correct) {
  ++examples_;
  if (correct) ++correct_;
  auto& all_correct = all_correct_.try_emplace(std::string(sentence), true).first->second;
  all_correct = all_correct && correct;
}

double NlvrAccuracy::accuracy() const {
  return percent(correct_, examples_);
}

double NlvrAccuracy::consistency() const {
  const auto consistent = std::count_if(all_correct_.begin(), all_correct_.end(),
                                        [](const auto& entry) { return entry.second; });
  return percent(static_cast<std::size_t>(consistent), all_correct_.size());
}

}  // namespace blip
