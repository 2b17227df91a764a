#include "apps/cli/capfilt_samples.h"

#include <algorithm>
#include <new>
#include <span>

#include "blip/base/error.h"
#include "blip/base/html.h"
#include "blip/image/encode.h"
#include "blip/image/resize.h"
#include "blip/index/checksum.h"

namespace blip::cli {
namespace {

constexpr int kSide = 96;                  ///< longest side of a thumbnail in pixels
constexpr std::size_t kLongestText = 300;  ///< bytes that are shown of a text

/// A data URI; empty for a picture that cannot be decoded.
std::string thumbnail(const PairRecord& record, const ImageOptions& options) {
  try {
    const std::string bytes = record.picture_bytes();
    const Image image = decode_image(std::as_bytes(std::span(bytes)), options);
    const double shrink = std::min(1.0, double{kSide} / std::max(image.width, image.height));
    const Image small = resize_bicubic(image, std::max(1, static_cast<int>(image.width * shrink)),
                                       std::max(1, static_cast<int>(image.height * shrink)));
    return data_uri("image/png", encode_png(small));
  } catch (const Error&) {
    return "";
  } catch (const std::bad_alloc&) {
    return "";
  }
}

Json shortened(Json row) {
  for (Json& text : row["texts"]) {
    std::string words = text["text"].get<std::string>();
    if (words.size() <= kLongestText) continue;
    std::size_t end = kLongestText;
    while (end > 0 && (static_cast<unsigned char>(words[end]) & 0xC0) == 0x80) --end;
    text["text"] = words.substr(0, end) + "...";
  }
  return row;
}

}  // namespace

void CapFiltSamples::consider(const PairRecord& record, const Json& row,
                              const ImageOptions& options) {
  if (row.contains("error") || row.contains("human")) return;
  const std::pair rank(to_hex(checksum(std::as_bytes(std::span(record.key)))), record.key);
  if (!would_take(group_of(row), rank)) return;
  take(rank, {{"checksum", rank.first},
              {"thumbnail", thumbnail(record, options)},
              {"row", shortened(row)}});
}

void CapFiltSamples::merge(const Json& samples) {
  try {
    for (const Json& sample : samples) {
      take(
          {sample.at("checksum").get<std::string>(), sample.at("row").at("key").get<std::string>()},
          sample);
    }
  } catch (const Json::exception& e) {
    throw Error(ErrorCode::io, std::string("samples of a part are damaged: ") + e.what());
  }
}

Json CapFiltSamples::to_json() const {
  Json json = Json::array();
  for (const Chosen* chosen : {&whole_, &partly_}) {
    for (const auto& [rank, sample] : *chosen) json.push_back(sample);
  }
  return json;
}

CapFiltSamples::Chosen& CapFiltSamples::group_of(const Json& row) {
  const Json& texts = row.at("texts");
  const bool whole = std::all_of(texts.begin(), texts.end(),
                                 [](const Json& text) { return text.at("kept") == true; });
  return whole ? whole_ : partly_;
}

bool CapFiltSamples::would_take(const Chosen& chosen,
                                const std::pair<std::string, std::string>& rank) const {
  return chosen.size() < of_each_ || rank < chosen.rbegin()->first;
}

void CapFiltSamples::take(const std::pair<std::string, std::string>& rank, Json sample) {
  Chosen& chosen = group_of(sample.at("row"));
  if (!would_take(chosen, rank)) return;
  chosen.emplace(rank, std::move(sample));
  if (chosen.size() > of_each_) chosen.erase(std::prev(chosen.end()));
}

}  // namespace blip::cli
