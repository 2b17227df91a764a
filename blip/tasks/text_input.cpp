#include "blip/tasks/text_input.h"

#include <algorithm>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

/// Tokens of one pass through the encoder: enough for the matrix products to be efficient.
constexpr std::size_t kTokensPerPass = 1024;

int enc_token_id(const Engine& engine) {
  const Tokenizer& tokenizer = engine.tokenizer();
  const int id = tokenizer.id("[ENC]");
  if (id >= 0) return id;
  // Checkpoints of transformers carry BERT's vocabulary, which ends before [DEC] and [ENC]; their
  // embeddings do not.
  const TextConfig& text = engine.model().config().text;
  const int after_dec = text.bos_token_id + 1;
  if (static_cast<std::size_t>(after_dec) > tokenizer.vocab_size() && after_dec < text.vocab_size)
    return after_dec;
  throw Error(ErrorCode::unsupported,
              "the checkpoint has no [ENC] token to put in front of a text; ask for [CLS]");
}

int first_token_id(const Engine& engine, FirstToken first) {
  const bool authors = engine.checkpoint().family == CheckpointFamily::authors;
  if (first == FirstToken::checkpoint) first = authors ? FirstToken::enc : FirstToken::cls;
  return first == FirstToken::enc ? enc_token_id(engine) : engine.tokenizer().cls_id();
}

}  // namespace

EncodedText encode_text(const Engine& engine, std::string_view text, std::string_view what,
                        FirstToken first, int max_length) {
  const int positions = engine.model().config().text.max_position_embeddings;
  if (max_length != 0 && max_length < 3) {
    throw Error(ErrorCode::usage, "a " + std::string(what) +
                                      " must be allowed at least 3 tokens, but is allowed " +
                                      std::to_string(max_length));
  }
  const auto limit =
      static_cast<std::size_t>(max_length == 0 ? positions : std::min(max_length, positions));
  EncodedText encoded{engine.tokenizer().encode(text), false};
  if (encoded.ids.size() <= 2) {
    throw Error(ErrorCode::usage,
                "the " + std::string(what) + " " + in_quotes(text) + " has no words");
  }
  if (encoded.ids.size() > limit) {
    encoded = {engine.tokenizer().encode_truncated(text, limit), true};
  }
  encoded.ids.front() = first_token_id(engine, first);
  return encoded;
}

void encode_each(const TextEncoder& encoder, std::span<const EncoderText> texts, Batching batching,
                 const Context& context,
                 const std::function<void(std::size_t text, std::span<const float> hidden)>& take) {
  const auto width = static_cast<std::size_t>(encoder.config().hidden_size);
  for (std::size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
    std::size_t tokens = 0;
    do {
      tokens += texts[end++].tokens.size();
    } while (end < texts.size() && tokens + texts[end].tokens.size() <= kTokensPerPass);
    const Tensor hidden = encoder.forward(texts.subspan(begin, end - begin), context, {}, batching);
    std::size_t offset = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t count = texts[i].tokens.size() * width;
      take(i, hidden.span().subspan(offset, count));
      offset += count;
    }
  }
}

}  // namespace blip
