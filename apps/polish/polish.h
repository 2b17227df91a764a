#pragma once

#include <string>

#include "blip/base/context.h"

namespace blip {

/// A language model behind an OpenAI-compatible chat endpoint, which the user runs or rents.
struct PolishService {
  std::string url;  ///< of the API, such as http://localhost:8080/v1
  std::string model = "default";
  std::string key;      ///< sent as bearer token; empty: none
  double seconds = 30;  ///< until an answer has come whole
};

/// Throws Error{usage} for a URL that is not http or https, and for a time that is not positive.
void validate(const PolishService& service);

/// Asks the service to rewrite a description as fluent prose without changing what it says. Nothing
/// but the text is sent. Blocks; safe to call from several threads.
/// Throws Error{io} when the service does not answer in time, with another status than 200, or with
/// something that is no answer; Error{cancelled} soon after the context's stop.
std::string polished(const PolishService& service, const std::string& text, const Context& context);

}  // namespace blip
