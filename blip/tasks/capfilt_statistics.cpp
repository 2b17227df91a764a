#include "blip/tasks/capfilt_statistics.h"

#include <algorithm>

namespace blip {
namespace {

void count(ScoreHistogram& histogram, double score, double lowest) {
  const auto bins = static_cast<double>(histogram.size());
  const double share = (score - lowest) / (1 - lowest);
  // So written that what is no number falls into the first.
  const double bin = share > 0 ? std::min(share * bins, bins - 1) : 0;
  ++histogram[static_cast<std::size_t>(bin)];
}

void add_all(std::map<std::string, std::int64_t>& to,
             const std::map<std::string, std::int64_t>& from) {
  for (const auto& [key, number] : from) to[key] += number;
}

void add_text(CapFiltTextStatistics& statistics, const CapFiltText& text) {
  ++statistics.count;
  statistics.kept += text.kept ? 1 : 0;
  statistics.truncated += text.scores.truncated ? 1 : 0;
  if (!text.reason.empty()) ++statistics.reasons[text.reason];
  if (text.scores.itm) count(statistics.itm, *text.scores.itm, 0);
  if (text.scores.itc) count(statistics.itc, *text.scores.itc, -1);
}

}  // namespace

void CapFiltTextStatistics::add(const CapFiltTextStatistics& other) {
  count += other.count;
  kept += other.kept;
  truncated += other.truncated;
  add_all(reasons, other.reasons);
  for (std::size_t i = 0; i < itm.size(); ++i) itm[i] += other.itm[i];
  for (std::size_t i = 0; i < itc.size(); ++i) itc[i] += other.itc[i];
}

void CapFiltStatistics::add(const CapFiltRecord& record) {
  switch (record.verdict()) {
    case CapFiltVerdict::kept:
      ++kept;
      human += record.human ? 1 : 0;
      break;
    case CapFiltVerdict::dropped:
      ++dropped;
      break;
    case CapFiltVerdict::failed:
      ++failed;
      ++errors[std::string(name(record.error->code()))];
      return;  // its texts were not looked at
  }
  if (record.human) return;  // nor were these
  for (const CapFiltText& text : record.texts)
    add_text(text.origin == TextOrigin::web ? web : synthetic, text);
}

void CapFiltStatistics::add(const CapFiltStatistics& other) {
  records_in += other.records_in;
  kept += other.kept;
  dropped += other.dropped;
  failed += other.failed;
  human += other.human;
  web.add(other.web);
  synthetic.add(other.synthetic);
  add_all(errors, other.errors);
}

void CapFiltStatistics::require_balance(const std::string& where) const {
  if (records_in == kept + dropped + failed) return;
  throw Error(ErrorCode::internal,
              "the books of " + where + " do not balance: " + std::to_string(records_in) +
                  " records came in, but " + std::to_string(kept) + " were kept, " +
                  std::to_string(dropped) + " dropped and " + std::to_string(failed) + " failed");
}

}  // namespace blip
