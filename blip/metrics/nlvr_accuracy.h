#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace blip {

/// NLVR2's two metrics (Suhr et al. 2019), in per cent.
class NlvrAccuracy {
 public:
  /// One example. `sentence` is the same for examples that share a statement.
  void add(std::string_view sentence, bool correct);

  std::size_t examples() const { return examples_; }
  std::size_t sentences() const { return all_correct_.size(); }
  double accuracy() const;
  /// The share of statements whose examples are all answered right.
  double consistency() const;

 private:
  std::size_t examples_ = 0;
  std::size_t correct_ = 0;
  std::map<std::string, bool, std::less<>> all_correct_;
};

}  // namespace blip
