#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/tensor.h"
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
    int parent;  ///< row of this search's step before; -1 at first
    std::span<const int> tokens;
  };

  virtual ~Search() = default;
  /// Rows of the next step, valid until advance(); empty once the search is done.
  virtual std::span<const Row> rows() = 0;
  /// `logits` [rows, vocab_size] of the rows just asked for; they are left as they are.
  /// Throws Error{bad_model} for NaN or infinite logits, Error{usage} when the options forbid every
  /// token. Not to be used after it threw.
  virtual void advance(std::span<const float> logits) = 0;
  virtual bool done() const = 0;
  /// The sequence that is ahead, for those who watch: what is returned at last may be another.
  virtual std::span<const int> leader() const = 0;
  /// num_return_sequences of them, only when done. Beam search: best first, and fewer (never none)
  /// where the options leave fewer sequences possible. Sampling: in the order of their streams.
  virtual std::vector<Hypothesis> results() const = 0;
};

/// Tokens in all that the options let a sequence grow to whose first `prompt` ones are given.
std::int64_t length_limit(const GenerationConfig& config, std::int64_t prompt);

/// The same for a request that can be run.
/// Throws Error{usage} when the prompt or the minimum does not fit in.
int max_sequence_length(const GenerationRequest& request);

/// Throws Error{usage} for a request that cannot be run: validate(), a prompt that leaves no room,
/// a minimum above the limit, ids beyond the vocabulary.
std::unique_ptr<Search> make_search(const GenerationRequest& request, int vocab_size);

/// Requests that are run together, one call of the step function per token. Others may join, and
/// any may be given up, between steps. What a request returns does not depend on its neighbours.
class GenerationBatch {
 public:
  explicit GenerationBatch(int vocab_size) : vocab_size_(vocab_size) {}

  /// Its number, by which StepRow::request names it too: 0, 1, 2, ... in the order of the calls.
  /// Throws what make_search() throws.
  std::size_t add(const GenerationRequest& request);
  /// Forgets a request, done or not.
  void remove(std::size_t id) { running_.erase(id); }

  /// Takes all that are not done one token further. `step` runs on the calling thread; the searches
  /// share `context`'s threads. Throws what `step` throws and Error{cancelled}; the batch is of no
  /// use after that. What Search::advance() throws is kept for take_results().
  void step(const StepFunction& step, const Context& context);
  /// Whether no request needs another step.
  bool idle() const;
  /// Rows of the step before.
  std::size_t rows() const { return rows_.size(); }

  bool done(std::size_t id) const;
  /// Of a request that is not done.
  std::span<const int> leader(std::size_t id) const;
  /// Of a request that is not forgotten.
  std::size_t prompt_length(std::size_t id) const { return running_.at(id).prompt_length; }
  /// Of a request that is done, once; then it is forgotten. Throws what its search threw.
  std::vector<Hypothesis> take_results(std::size_t id);

 private:
  /// A search and where its rows lay in the step before.
  struct Running {
    std::unique_ptr<Search> search;  ///< until it is done: its scratch is of no use to the others
    std::size_t prompt_length = 0;
    std::size_t first_row = 0;
    std::size_t row_count = 0;
    std::vector<Hypothesis> results = {};  ///< when done, unless there is an error
    std::exception_ptr error = nullptr;

    bool done() const { return search == nullptr; }
  };

  void lay_out();
  void advance(std::span<const float> logits);

  int vocab_size_;
  std::size_t next_id_ = 0;
  std::map<std::size_t, Running> running_;
  std::vector<StepRow> rows_;
  std::vector<Running*> stepping_;  ///< whose rows these are
  FloatBuffer logits_;
};

/// A batch of all requests, until each is done. Throws what `step`, make_search() and
/// Search::advance() throw, and Error{cancelled}.
std::vector<std::vector<Hypothesis>> generate(std::span<const GenerationRequest> requests,
                                              int vocab_size, const StepFunction& step,
                                              const Context& context = {});

}  // namespace blip
