#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "blip/tasks/capfilt.h"

namespace blip {

/// How often scores were in each twentieth of their range: 0 to 1 (ITM) or -1 to 1 (ITC).
using ScoreHistogram = std::array<std::int64_t, 20>;

/// Of the texts of one origin.
struct CapFiltTextStatistics {
  std::int64_t count = 0;
  std::int64_t kept = 0;
  std::int64_t truncated = 0;
  std::map<std::string, std::int64_t> reasons;  ///< of those that were dropped
  ScoreHistogram itm{}, itc{};

  void add(const CapFiltTextStatistics& other);
};

/// The books of a run: every record that came in was kept, dropped, or failed.
struct CapFiltStatistics {
  std::int64_t records_in = 0;  ///< counted where they are read, not where they are written
  std::int64_t kept = 0;
  std::int64_t dropped = 0;
  std::int64_t failed = 0;
  std::int64_t human = 0;  ///< of those that were kept
  CapFiltTextStatistics web, synthetic;
  std::map<std::string, std::int64_t> errors;  ///< by their code

  void add(const CapFiltRecord& record);
  void add(const CapFiltStatistics& other);
  /// Throws Error{internal} unless records_in = kept + dropped + failed. `where` they were counted.
  void require_balance(const std::string& where) const;
};

}  // namespace blip
