#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/model/text_encoder.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/first_token.h"

namespace blip {

/// A text as an encoder reads it: the first token, its own, [SEP].
struct EncodedText {
  std::vector<int> ids;
  bool truncated = false;  ///< tokens beyond the greatest length were cut off
};

/// `max_length` counts all tokens; 0, or more than the model has positions for: as many as those.
/// Throws Error{usage} for a text without tokens, calling it `what` ("question"), and for a
/// `max_length` that leaves no room for any; Error{unsupported} when the checkpoint has no [ENC].
EncodedText encode_text(const Engine& engine, std::string_view text, std::string_view what,
                        FirstToken first, int max_length);

/// Runs texts through the encoder, so many at a time that memory stays bounded, and hands over the
/// last hidden states [tokens, D] of each, in order. Throws Error{cancelled}.
void encode_each(const TextEncoder& encoder, std::span<const EncoderText> texts, Batching batching,
                 const Context& context,
                 const std::function<void(std::size_t text, std::span<const float> hidden)>& take);

}  // namespace blip
