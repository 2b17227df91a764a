#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/generation/generation_config.h"

namespace blip {

/// A sequence that a search returns.
struct Hypothesis {
  std::vector<int> ids;               ///< [DEC], prompt, new tokens, [SEP] when it ended by itself
  int prompt_length = 0;              ///< leading ids that were given
  std::vector<float> token_logprobs;  ///< one per new token: log-softmax of the raw logits there
  double score = 0;  ///< several beams: the length-penalised score; else the sum of token_logprobs
  bool finished = false;  ///< ended by [SEP], not by the length limit
};

/// One picture's (or question's) generation.
struct GenerationRequest {
  std::vector<int> prompt_ids;  ///< starts with [DEC]; never empty
  GenerationConfig config;
  int eos_id = 102;  ///< [SEP]
};

/// A sequence that the next step must extend.
struct StepRow {
  int request = 0;              ///< index of the request it belongs to
  int parent = -1;              ///< index among the rows of the step before; -1: starts anew
  std::span<const int> tokens;  ///< tokens to append: the prompt at first, then one
};

/// The model, as searches see it: appends each row's tokens to (a copy of) its parent's sequence
/// and writes the logits after its last token to logits[row * vocab_size ..].
using StepFunction = std::function<void(std::span<const StepRow> rows, std::span<float> logits)>;

/// The algorithm of one request as a state machine: rows() says what the model must compute,
/// advance() takes the result. Greedy, sampling, beam search and beam sampling implement it.
class Search {
 public:
  struct Row {
    int parent;                   ///< row of this search's step before; -1 at first
    std::span<const int> tokens;  ///< valid until advance()
  };

  virtual ~Search() = default;
  /// Rows of the next step; empty once the search is done.
  virtual std::vector<Row> rows() const = 0;
  /// `logits` [rows, vocab_size] of the rows just asked for; they are left as they are.
  /// Throws Error{bad_model} for NaN or infinite logits, Error{usage} when the options forbid every
  /// token. Not to be used after it threw.
  virtual void advance(std::span<const float> logits) = 0;
  virtual bool done() const = 0;
  /// num_return_sequences of them, only when done. Beam search: best first, and fewer (never none)
  /// where the options leave fewer sequences possible. Sampling: in the order of their streams.
  virtual std::vector<Hypothesis> results() const = 0;
};

/// Most tokens that a request's sequence can grow to, prompt included.
/// Throws Error{usage} when the prompt or the minimum does not fit in.
int max_sequence_length(const GenerationRequest& request);

/// Throws Error{usage} for a request that cannot be run: validate(), a prompt that leaves no room,
/// a minimum above the limit, ids beyond the vocabulary.
std::unique_ptr<Search> make_search(const GenerationRequest& request, int vocab_size);

/// Runs all requests together, one step function call per token, until each is done. What a request
/// returns does not depend on its neighbours. `step` runs on the calling thread; the searches share
/// `context`'s threads between calls. Throws what `step`, make_search() and Search::advance()
/// throw, and Error{cancelled}.
std::vector<std::vector<Hypothesis>> generate(std::span<const GenerationRequest> requests,
                                              int vocab_size, const StepFunction& step,
                                              const Context& context = {});

}  // namespace blip
