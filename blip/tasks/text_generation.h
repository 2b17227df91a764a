#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include "blip/generation/search.h"
#include "blip/model/text_decoder.h"
#include "blip/tasks/captioning.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {

/// Throws Error{usage} for a request that cannot be run with this model: see make_search(); also a
/// length beyond its positions.
void validate_generation(const GenerationRequest& request, const TextConfig& config);

/// A GenerationBatch of one decoder.
class TextBatch {
 public:
  explicit TextBatch(const TextDecoder& decoder)
      : decoder_(decoder), state_(decoder.config()), batch_(decoder.config().vocab_size) {}

  /// Returns its number. `source` is what it looks at, until it is taken or removed.
  /// Throws Error{usage} as validate_generation() does.
  std::size_t add(const GenerationRequest& request, const CrossKeysValues& source);
  void remove(std::size_t id);
  void step(const Context& context);
  std::vector<Hypothesis> take_results(std::size_t id);
  const GenerationBatch& generation() const { return batch_; }

 private:
  const TextDecoder& decoder_;
  DecoderState state_;
  GenerationBatch batch_;
  std::map<std::size_t, const CrossKeysValues*> sources_;
  std::vector<DecoderRow> rows_;  ///< of a step
};

/// Runs all requests together; the i-th looks at `sources[i]`. What a request returns does not
/// depend on its neighbours. Throws Error{usage, cancelled}.
std::vector<std::vector<Hypothesis>> generate_texts(const TextDecoder& decoder,
                                                    std::span<const GenerationRequest> requests,
                                                    std::span<const CrossKeysValues* const> sources,
                                                    const Context& context);

/// The generated tokens, without the prompt.
std::vector<CaptionToken> tokens_of(const Hypothesis& hypothesis, const Tokenizer& tokenizer);

}  // namespace blip
