#pragma once

// For tests: a model whose logits are a hash of the whole sequence.

#include <cstdint>
#include <span>
#include <vector>

#include "blip/base/random.h"
#include "blip/generation/search.h"

namespace blip {

constexpr int kEnd = 2;  ///< the token that ends its sequences

struct FakeModel {
  int vocab_size = 10;
  std::uint64_t seed = 1;
  float spread = 3;  ///< logits lie in [-spread, spread)
  int favoured = 0;  ///< a token, such as [SEP], that gets `bonus` on top
  float bonus = 0;

  std::vector<float> logits(std::span<const int> ids) const {
    std::uint64_t state = seed;
    for (const int id : ids) {
      state = Random(state ^ (static_cast<std::uint64_t>(id) * 0x9E3779B97F4A7C15u + 1)).next();
    }
    Random random(state);
    std::vector<float> result(static_cast<std::size_t>(vocab_size));
    for (float& x : result) x = static_cast<float>(random.uniform() * 2 - 1) * spread;
    result[static_cast<std::size_t>(favoured)] += bonus;
    return result;
  }

  /// A step function that follows every row's sequence through its parents. The model must outlive
  /// it. `rows_per_step`, if given, is appended the rows of each call.
  StepFunction step(std::vector<std::size_t>* rows_per_step = nullptr) const {
    return [this, rows_per_step, before = std::vector<std::vector<int>>()](
               std::span<const StepRow> rows, std::span<float> logits_out) mutable {
      std::vector<std::vector<int>> sequences;
      for (const StepRow& row : rows) {
        std::vector<int> ids;
        if (row.parent >= 0) ids = before.at(static_cast<std::size_t>(row.parent));
        ids.insert(ids.end(), row.tokens.begin(), row.tokens.end());
        const std::vector<float> row_logits = logits(ids);
        std::copy(row_logits.begin(), row_logits.end(), logits_out.begin());
        logits_out = logits_out.subspan(row_logits.size());
        sequences.push_back(std::move(ids));
      }
      before = std::move(sequences);
      if (rows_per_step != nullptr) rows_per_step->push_back(rows.size());
    };
  }
};

/// generate() for one request.
inline std::vector<Hypothesis> generate_one(const FakeModel& model,
                                            const GenerationRequest& request) {
  return generate(std::span(&request, 1), model.vocab_size, model.step()).front();
}

}  // namespace blip
