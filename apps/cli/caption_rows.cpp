#include "apps/cli/caption_rows.h"

#include <cstdio>
#include <utility>

#include "blip/base/json.h"

namespace blip::cli {
namespace {

Json to_json(const CaptionRow& row) {
  Json json = {{"path", row.path}};
  if (row.error) {
    json["error"] = {{"code", name(row.error->code())}, {"message", row.error->what()}};
    return json;
  }
  json["captions"] = Json::array();
  for (const Caption& caption : row.captions) {
    Json tokens = Json::array();
    for (const CaptionToken& token : caption.tokens) {
      tokens.push_back({{"id", token.id}, {"token", token.text}, {"logprob", token.logprob}});
    }
    json["captions"].push_back({{"text", caption.text},
                                {"score", caption.score},
                                {"finished", caption.finished},
                                {"tokens", std::move(tokens)}});
  }
  return json;
}

void flush() {
  if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "cannot write to standard output");
}

}  // namespace

void CaptionRowWriter::write(const CaptionRow& row) {
  if (row.error) std::fprintf(stderr, "blip: %s\n", row.error->what());
  if (format_ == Format::text) {
    for (const Caption& caption : row.captions) {
      if (show_paths_) std::printf("%s\t", row.path.c_str());
      std::printf("%s\n", caption.text.c_str());
    }
  } else {
    const std::string text = to_json(row).dump(-1, ' ', false, Json::error_handler_t::replace);
    const char* before = format_ == Format::jsonl ? "" : rows_ == 0 ? "[\n" : ",\n";
    std::printf("%s%s%s", before, text.c_str(), format_ == Format::jsonl ? "\n" : "");
  }
  ++rows_;
  flush();
}

void CaptionRowWriter::finish() {
  if (format_ == Format::json) std::printf(rows_ == 0 ? "[]\n" : "\n]\n");
  flush();
}

}  // namespace blip::cli
