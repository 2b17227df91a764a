#include "apps/cli/capfilt_page.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <tuple>
#include <utility>

#include "blip/base/html.h"

namespace blip::cli {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>CapFilt</title>
<style>
:root{color-scheme:light dark;--web:#b4551d;--synthetic:#2868a8;--line:#8886;--kept:#2d7d46}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}
table{border-collapse:collapse}th,td{padding:.25rem .9rem .25rem 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}
.bar{display:flex;height:1.4rem;border-radius:4px;overflow:hidden;margin:1rem 0}
.kept{background:var(--kept)}.dropped{background:#9a9a9a}.failed{background:#b3261e}
figure{display:inline-block;margin:0 2rem 1rem 0}figcaption{font-size:.9rem}
svg text{font:11px system-ui,sans-serif;fill:currentColor}
.web{fill:var(--web)}.synthetic{fill:var(--synthetic)}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}
.sample{display:flex;gap:.8rem;border:1px solid var(--line);border-radius:6px;padding:.7rem;overflow-wrap:anywhere;min-width:0}
.sample img{width:96px;height:96px;object-fit:contain;flex:none}
.sample p{margin:.1rem 0}.sample small{opacity:.75}
del{opacity:.75}.key{font-size:.8rem;opacity:.75}
pre{overflow:auto;border:1px solid var(--line);border-radius:6px;padding:.7rem}
</style></head><body>
)";

std::string in_figures(double number, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

std::string percent(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return "-";
  return in_figures(100.0 * static_cast<double>(part) / static_cast<double>(whole), "%.1f %%");
}

std::string counted(const CapFiltStatistics& books) {
  std::string html = "<div class=\"bar\">";
  std::string words;
  const std::pair<const char*, std::int64_t> parts[] = {
      {"kept", books.kept}, {"dropped", books.dropped}, {"failed", books.failed}};
  for (const auto& [word, number] : parts) {
    const std::string n = std::to_string(number);
    html += std::string("<div class=\"") + word + "\" style=\"flex:" + n + "\"></div>";
    words += ", " + n + " " + word + " (" + percent(number, books.records_in) + ")";
  }
  html += "</div>\n<p>" + std::to_string(books.records_in) + " records: " + words.substr(2);
  if (books.human > 0)
    html += "; " + std::to_string(books.human) + " of the kept are human-annotated and unfiltered";
  return html + ".</p>\n";
}

std::string text_row(const char* origin, const CapFiltTextStatistics& texts) {
  const auto dropped_for = [&](const char* reason) {
    const auto found = texts.reasons.find(reason);
    return "<td>" + std::to_string(found == texts.reasons.end() ? 0 : found->second) + "</td>";
  };
  return std::string("<tr><td>") + origin + "</td><td>" + std::to_string(texts.count) +
         "</td><td>" + std::to_string(texts.kept) + "</td><td>" + percent(texts.kept, texts.count) +
         "</td>" + dropped_for("itm") + dropped_for("itc") + dropped_for("repeated") +
         dropped_for("no words") + "</tr>\n";
}

std::string text_table(const CapFiltStatistics& books) {
  return "<h2>Texts</h2>\n<table><tr><th>origin</th><th>texts</th><th>kept</th><th>share</th>"
         "<th>dropped: ITM</th><th>ITC</th><th>repeated</th><th>no words</th></tr>\n" +
         text_row("web", books.web) + text_row("synthetic", books.synthetic) + "</table>\n";
}

/// Shares of both origins in each bin, side by side.
std::string histogram(const char* title, const CapFiltStatistics& books,
                      ScoreHistogram CapFiltTextStatistics::*scores, double lowest) {
  constexpr int kWidth = 420, kHeight = 150;
  const ScoreHistogram& web = books.web.*scores;
  const ScoreHistogram& synthetic = books.synthetic.*scores;
  const auto sum = [](const ScoreHistogram& h) {
    std::int64_t all = 0;
    for (const std::int64_t n : h) all += n;
    return std::max<double>(1, static_cast<double>(all));
  };
  double highest = 1e-9;
  for (const ScoreHistogram* h : {&web, &synthetic}) {
    for (const std::int64_t n : *h) highest = std::max(highest, static_cast<double>(n) / sum(*h));
  }
  std::string svg =
      "<figure><svg width=\"460\" height=\"180\" viewBox=\"-20 -10 460 180\" role=\"img\">";
  const double bin = static_cast<double>(kWidth) / static_cast<double>(web.size());
  for (const auto& [h, word, shift] :
       {std::tuple(&web, "web", 0.0), std::tuple(&synthetic, "synthetic", 0.5)}) {
    for (std::size_t i = 0; i < h->size(); ++i) {
      const double share = static_cast<double>((*h)[i]) / sum(*h);
      const double height = share / highest * kHeight;
      svg += std::string("<rect class=\"") + word + "\" x=\"" +
             in_figures((static_cast<double>(i) + shift) * bin + 0.5, "%.1f") + "\" y=\"" +
             in_figures(kHeight - height, "%.1f") + "\" width=\"" +
             in_figures(bin / 2 - 0.5, "%.1f") + "\" height=\"" + in_figures(height, "%.1f") +
             "\"><title>" + word + ": " + std::to_string((*h)[i]) + "</title></rect>";
    }
  }
  for (int i = 0; i <= 4; ++i) {
    svg += "<text text-anchor=\"middle\" x=\"" + in_figures(kWidth * i / 4.0, "%.0f") + "\" y=\"" +
           std::to_string(kHeight + 15) + "\">" +
           in_figures(lowest + (1 - lowest) * i / 4, "%.2f") + "</text>";
  }
  return svg + "</svg><figcaption>" + title + "</figcaption></figure>\n";
}

std::string sample_text(const Json& text) {
  const bool kept = text.value("kept", false);
  const std::string words = escape_html(text.value("text", ""));
  std::string html = "<p>" + (kept ? words : "<del>" + words + "</del>") + "<br><small>" +
                     escape_html(text.value("origin", ""));
  for (const char* score : {"itm", "itc"}) {
    if (text.contains(score) && text[score].is_number())
      html +=
          std::string(" &middot; ") + score + " " + in_figures(text[score].get<double>(), "%.3f");
  }
  if (!kept) html += " &middot; dropped: " + escape_html(text.value("reason", ""));
  return html + "</small></p>";
}

std::string sample_cards(const Json& samples) {
  std::string html = "<h2>Samples</h2>\n<div class=\"samples\">\n";
  for (const Json& sample : samples) {
    const Json& row = sample.at("row");
    html += "<div class=\"sample\">";
    const std::string picture = sample.value("thumbnail", "");
    if (!picture.empty()) html += "<img alt=\"\" src=\"" + escape_html(picture) + "\">";
    html += "<div>";
    for (const Json& text : row.at("texts")) html += sample_text(text);
    html += "<p class=\"key\">" + escape_html(row.value("key", "")) + "</p></div></div>\n";
  }
  return html + "</div>\n";
}

}  // namespace

std::string capfilt_page(const Json& report, const CapFiltStatistics& statistics,
                         const Json& samples) {
  std::string html(kHead);
  html += "<h1>CapFilt</h1>\n" + counted(statistics) + text_table(statistics);
  html +=
      "<h2>Scores</h2>\n<p>Share of texts in each twentieth: <svg width=\"10\" height=\"10\">"
      "<rect class=\"web\" width=\"10\" height=\"10\"/></svg> web, <svg width=\"10\" "
      "height=\"10\"><rect class=\"synthetic\" width=\"10\" height=\"10\"/></svg> synthetic."
      "</p>\n";
  html += histogram("ITM: probability of a match", statistics, &CapFiltTextStatistics::itm, 0);
  html += histogram("ITC: cosine", statistics, &CapFiltTextStatistics::itc, -1);
  html += sample_cards(samples);
  html += "<h2>Run</h2>\n<pre>" + escape_html(dump(report, 2)) + "</pre>\n</body></html>\n";
  return html;
}

}  // namespace blip::cli
