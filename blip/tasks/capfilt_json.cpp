#include "blip/tasks/capfilt_json.h"

#include <cmath>
#include <initializer_list>

namespace blip {
namespace {

Json to_json(const CapFiltText& text) {
  Json json = {{"text", text.text}, {"origin", name(text.origin)}};
  if (text.scores.itm) json["itm"] = *text.scores.itm;
  if (text.scores.itc) json["itc"] = *text.scores.itc;
  if (text.scores.truncated) json["truncated"] = true;
  json["kept"] = text.kept;
  if (!text.reason.empty()) json["reason"] = text.reason;
  return json;
}

std::optional<double> score_in(const Json& json, const char* key) {
  if (!json.contains(key)) return std::nullopt;
  return json[key].is_null() ? std::nan("") : json[key].get<double>();
}

CapFiltText text_from_json(const Json& json) {
  CapFiltText text;
  text.text = json.at("text").get<std::string>();
  const bool web = json.at("origin").get<std::string>() == name(TextOrigin::web);
  text.origin = web ? TextOrigin::web : TextOrigin::synthetic;
  text.scores = {score_in(json, "itm"), score_in(json, "itc"), json.value("truncated", false)};
  text.kept = json.at("kept").get<bool>();
  text.reason = json.value("reason", "");
  return text;
}

ErrorCode code_of(const std::string& word) {
  for (const ErrorCode code :
       {ErrorCode::usage, ErrorCode::not_found, ErrorCode::io, ErrorCode::bad_model,
        ErrorCode::unsupported, ErrorCode::bad_image, ErrorCode::too_large}) {
    if (word == name(code)) return code;
  }
  return ErrorCode::internal;
}

Json to_json(const CapFiltTextStatistics& texts) {
  return {{"count", texts.count},     {"kept", texts.kept}, {"truncated", texts.truncated},
          {"reasons", texts.reasons}, {"itm", texts.itm},   {"itc", texts.itc}};
}

CapFiltTextStatistics texts_from_json(const Json& json) {
  CapFiltTextStatistics texts;
  json.at("count").get_to(texts.count);
  json.at("kept").get_to(texts.kept);
  json.at("truncated").get_to(texts.truncated);
  json.at("reasons").get_to(texts.reasons);
  json.at("itm").get_to(texts.itm);
  json.at("itc").get_to(texts.itc);
  return texts;
}

/// What `read` makes of JSON. Throws Error{io} where nlohmann::json throws something of its own.
template <class Read>
auto checked(std::string_view where, const Read& read) {
  try {
    return read();
  } catch (const Json::exception& e) {
    throw Error(ErrorCode::io,
                std::string(where) + " is not in this program's form: " + in_quotes(e.what()));
  }
}

}  // namespace

Json to_json(const CapFiltRecord& record) {
  Json json = {{"key", record.key}, {"status", name(record.verdict())}};
  if (record.human) json["human"] = true;
  json["texts"] = Json::array();
  for (const CapFiltText& text : record.texts) json["texts"].push_back(to_json(text));
  if (record.error) {
    json["error"] = {{"code", name(record.error->code())}, {"message", record.error->what()}};
  }
  return json;
}

CapFiltRecord capfilt_record_from_json(const Json& json, std::string_view where) {
  return checked(where, [&] {
    CapFiltRecord record;
    record.key = json.at("key").get<std::string>();
    record.human = json.value("human", false);
    for (const Json& text : json.at("texts")) record.texts.push_back(text_from_json(text));
    if (json.contains("error")) {
      record.error.emplace(code_of(json["error"].at("code").get<std::string>()),
                           json["error"].at("message").get<std::string>());
    }
    return record;
  });
}

Json to_json(const CapFiltStatistics& statistics) {
  return {
      {"records",
       {{"in", statistics.records_in},
        {"kept", statistics.kept},
        {"dropped", statistics.dropped},
        {"failed", statistics.failed},
        {"human", statistics.human}}},
      {"texts", {{"web", to_json(statistics.web)}, {"synthetic", to_json(statistics.synthetic)}}},
      {"errors", statistics.errors}};
}

CapFiltStatistics capfilt_statistics_from_json(const Json& json, std::string_view where) {
  return checked(where, [&] {
    CapFiltStatistics statistics;
    const Json& records = json.at("records");
    records.at("in").get_to(statistics.records_in);
    records.at("kept").get_to(statistics.kept);
    records.at("dropped").get_to(statistics.dropped);
    records.at("failed").get_to(statistics.failed);
    records.at("human").get_to(statistics.human);
    statistics.web = texts_from_json(json.at("texts").at("web"));
    statistics.synthetic = texts_from_json(json.at("texts").at("synthetic"));
    json.at("errors").get_to(statistics.errors);
    return statistics;
  });
}

}  // namespace blip
