#pragma once

#include <span>
#include <string>
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
                                            const Context& context = {}) const;

  /// The best caption of one picture with the checkpoint's defaults.
  Caption caption(const Image& image, const std::string& prompt = "") const;

  /// Tokens that a prompt takes, [DEC] among them.
  std::size_t prompt_tokens(const std::string& prompt) const;
  /// Most tokens that a text can have, [DEC] and prompt among them.
  std::size_t most_tokens() const;

  const Engine& engine() const { return engine_; }

 private:
  GenerationRequest request_for(const std::string& prompt, const CaptionOptions& options) const;

  Engine engine_;
};

}  // namespace blip
