#include "apps/findings/findings.h"

namespace blip::findings {

Json to_json(const Error& error) {
  return {{"code", name(error.code())}, {"message", error.what()}};
}

Json to_json(std::span<const CaptionToken> tokens) {
  Json json = Json::array();
  for (const CaptionToken& token : tokens)
    json.push_back({{"id", token.id}, {"token", token.text}, {"logprob", token.logprob}});
  return json;
}

Json to_json(std::span<const Caption> captions) {
  Json json = Json::array();
  for (const Caption& caption : captions) {
    json.push_back({{"text", caption.text},
                    {"score", caption.score},
                    {"finished", caption.finished},
                    {"tokens", to_json(caption.tokens)}});
  }
  return json;
}

Json to_json(const std::string& question, const Answers& answers) {
  Json all = Json::array();
  for (const Answer& answer : answers.answers) {
    all.push_back({{"text", answer.text},
                   {"probability", answer.probability},
                   {"score", answer.score},
                   {"finished", answer.finished},
                   {"tokens", to_json(answer.tokens)}});
  }
  return {{"question", question}, {"truncated", answers.truncated}, {"answers", std::move(all)}};
}

Json to_json(const std::string& text, const MatchText& encoded, const Match& match) {
  Json json = {{"text", text}, {"truncated", encoded.truncated}};
  if (!encoded.itm_ids.empty()) {
    json["itm_probability"] = match.itm_probability;
    json["itm_logits"] = match.itm_logits;
  }
  if (!encoded.text_feat.empty()) json["itc_similarity"] = match.itc_similarity;
  return json;
}

Json to_json(const Found& found, const char* key) {
  Json json = {{key, found.name}, {"score", found.score}, {"itc_similarity", found.itc_similarity}};
  if (found.match) {
    json["itm_probability"] = found.match->itm_probability;
    json["itm_logits"] = found.match->itm_logits;
  }
  if (found.error) json["error"] = to_json(*found.error);
  return json;
}

Json to_json(const std::string& text, const std::string& word, const HeatMap& map) {
  return {{"text", text},     {"word", word},           {"truncated", map.truncated},
          {"rows", map.rows}, {"columns", map.columns}, {"values", map.values}};
}

}  // namespace blip::findings
