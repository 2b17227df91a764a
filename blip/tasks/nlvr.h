#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/first_token.h"

namespace blip {

struct NlvrOptions {
  /// Also ask with the pictures exchanged, and "left" and "right" in the statement with them, and
  /// average the probabilities. The authors' evaluation draws one of the two orders.
  bool both_orders = false;
  FirstToken first_token = FirstToken::checkpoint;
  /// Longer statements are cut to so many tokens; 0: as many as the model has positions for.
  int max_length = 0;
};

/// Whether a statement about two pictures holds.
struct Verdict {
  double probability = 0;         ///< that it is true
  std::array<float, 2> logits{};  ///< "false", "true", in the order given
  bool truncated = false;         ///< the statement was cut
};

/// Natural language for visual reasoning over two pictures (NLVR2, paper section 5.4).
class BLIP_API VisualReasoner {
 public:
  /// Throws Error{unsupported} for a checkpoint that is not made for it.
  explicit VisualReasoner(Engine engine);

  /// Each picture's keys and values are projected once for each side, by the first call.
  /// Throws Error{usage} for a statement without words, Error{cancelled}.
  std::vector<Verdict> judge(const EncodedImage& left, const EncodedImage& right,
                             std::span<const std::string> statements,
                             const NlvrOptions& options = {}, const Context& context = {}) const;

  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
};

}  // namespace blip
