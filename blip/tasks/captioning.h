#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/generation/generation_config.h"
#include "blip/tasks/engine.h"

namespace blip {

/// One token of a caption.
struct CaptionToken {
  int id = 0;
  std::string text;   ///< the vocabulary's entry, such as "##ing"
  float logprob = 0;  ///< natural logarithm of the model's probability for it at this place
};

/// A generated description.
struct Caption {
  std::string text;
  std::vector<CaptionToken> tokens;  ///< the generated ones; the prompt's are not among them
  std::vector<int> ids;              ///< the whole sequence: [DEC], prompt, generated tokens
  double score = 0;  ///< beam search: length-penalised log-probability; else the sum of logprobs
  bool finished = false;  ///< ended by itself, not at the length limit
};

struct GenerationRequest;

/// What to describe, and how the description begins.
struct CaptionRequest {
  EncodedImage image;
  std::string prompt;  ///< empty: none
};

struct CaptionOptions {
  GenerationConfig generation;
  /// The text leaves the prompt out. Off: transformers keeps it.
  bool strip_prompt = false;
  /// Join "n 't", "' s" and the like in the text, as the authors' code and transformers before 4.45
  /// do.
  bool clean_up_tokenization_spaces = false;
};

/// The authors' evaluation settings: prompt "a picture of ", 3 beams, 5 to 20 tokens, their length
/// normalisation, spaces cleaned up, and the prompt left out of the text.
inline constexpr std::string_view kPaperPrompt = "a picture of ";
BLIP_API CaptionOptions paper_caption_options();

/// Told after every token of a call how far each of its requests is: the share of its length limit
/// that is written, 1 when it is done. On the thread that writes.
using WritingListener = std::function<void(std::span<const double> shares)>;

class CaptionBatch;

/// Image captioning (paper section 5.2): the image-grounded text decoder after the vision encoder.
class BLIP_API Captioner {
 public:
  /// Throws Error{unsupported} when the checkpoint cannot caption.
  explicit Captioner(Engine engine);

  /// Throws Error{usage} for options that cannot be run with this prompt: see blip::validate();
  /// also a prompt that leaves no room, or a length beyond the model's positions.
  void validate(const std::string& prompt, const CaptionOptions& options) const;

  /// num_return_sequences captions for each request, best first. Requests decode together; a
  /// request's captions are the same whatever others run beside it.
  /// Throws Error{usage, cancelled}.
  std::vector<std::vector<Caption>> caption(std::span<const CaptionRequest> requests,
                                            const CaptionOptions& options,
                                            const Context& context = {}) const;

  /// The same with options of its own for each request.
  /// Throws Error{usage} also when there are not as many options as requests.
  std::vector<std::vector<Caption>> caption(std::span<const CaptionRequest> requests,
                                            std::span<const CaptionOptions> options,
                                            const Context& context = {},
                                            const WritingListener& listener = {}) const;

  /// The best caption of one picture with the checkpoint's defaults.
  Caption caption(const Image& image, const std::string& prompt = "") const;

  /// Tokens that a prompt takes, [DEC] among them.
  std::size_t prompt_tokens(const std::string& prompt) const;
  /// Most tokens that a text can have, [DEC] and prompt among them.
  std::size_t most_tokens() const;

  const Engine& engine() const { return engine_; }

 private:
  friend class CaptionBatch;
  GenerationRequest request_for(const std::string& prompt, const CaptionOptions& options) const;

  Engine engine_;
};

/// Captions that are written together, one token a step; others may join, and any may be given up,
/// between steps. For programs that take requests as they come. One thread at a time.
class BLIP_API CaptionBatch {
 public:
  explicit CaptionBatch(Captioner captioner);
  ~CaptionBatch();
  CaptionBatch(const CaptionBatch&) = delete;
  CaptionBatch& operator=(const CaptionBatch&) = delete;

  /// Its number. Throws Error{usage} as Captioner::validate(), Error{cancelled}.
  std::size_t add(const CaptionRequest& request, const CaptionOptions& options,
                  const Context& context = {});
  /// Forgets a request, done or not.
  void remove(std::size_t id);

  /// Takes every caption that is not done one token further. Throws Error{cancelled}; the batch is
  /// of no use after that.
  void step(const Context& context = {});
  /// Whether no request needs another step.
  bool idle() const;
  bool done(std::size_t id) const;
  /// The text that is ahead, of a request that is not done: the caption may become another.
  std::string text_so_far(std::size_t id) const;
  /// Of its length limit, the share that this text has; 1: it is done.
  double share_written(std::size_t id) const;
  /// Of a request that is done, once: num_return_sequences captions, best first. Throws
  /// Error{usage} when its options left no token possible, Error{bad_model} for a damaged model's.
  std::vector<Caption> take(std::size_t id);

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace blip
