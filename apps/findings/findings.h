#pragma once

#include <span>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/localization.h"
#include "blip/tasks/matching.h"
#include "blip/tasks/retrieval.h"
#include "blip/tasks/vqa.h"

/// The one JSON form of what tasks find out (docs/output.md): the command's and the service's.
namespace blip::findings {

/// {"code", "message"}
Json to_json(const Error& error);
/// [{"id", "token", "logprob"}, ...]
Json to_json(std::span<const CaptionToken> tokens);
/// [{"text", "score", "finished", "tokens"}, ...]
Json to_json(std::span<const Caption> captions);
/// {"question", "truncated", "answers": [{"text", "probability", "score", "finished", "tokens"}]}
Json to_json(const std::string& question, const Answers& answers);
/// {"text", "truncated", "itm_probability", "itm_logits", "itc_similarity"}: of the scores those
/// that `encoded` was made ready for.
Json to_json(const std::string& text, const MatchText& encoded, const Match& match);
/// {KEY, "score", "itc_similarity"}, after re-ranking "itm_probability" and "itm_logits", or
/// "error"
Json to_json(const Found& found, const char* key);
/// {"text", "word", "truncated", "rows", "columns", "values"}
Json to_json(const std::string& text, const std::string& word, const HeatMap& map);

}  // namespace blip::findings
