#pragma once

#include "blip/base/json.h"
#include "blip/tasks/capfilt.h"
#include "blip/tasks/capfilt_statistics.h"

namespace blip {

/// A record's provenance (docs/capfilt.md): {"key", "status", "human", "texts": [{"text", "origin",
/// "itm", "itc", "truncated", "kept", "reason"}], "error": {"code", "message"}}; what is absent or
/// false is left out, but for "kept".
Json to_json(const CapFiltRecord& record);
/// The same back; other fields are passed over. Throws Error{io} that names `where`.
CapFiltRecord capfilt_record_from_json(const Json& json, std::string_view where);

/// {"records": {"in", "kept", "dropped", "failed", "human"}, "texts": {"web": {...}, "synthetic":
/// {...}}, "errors": {code: count}}; of texts {"count", "kept", "truncated", "reasons", "itm",
/// "itc"}, the last two as histograms.
Json to_json(const CapFiltStatistics& statistics);
CapFiltStatistics capfilt_statistics_from_json(const Json& json, std::string_view where);

}  // namespace blip
