#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "blip/base/json.h"
#include "blip/dataset/pair_source.h"
#include "blip/image/decode.h"

namespace blip::cli {

/// A few records to look at, half of them with all texts kept: those whose keys have the lowest
/// checksums, so that it does not matter who chose them, or when.
class CapFiltSamples {
 public:
  explicit CapFiltSamples(std::size_t of_each) : of_each_(of_each) {}

  /// Decodes the picture when the record is chosen. `row` is its provenance.
  void consider(const PairRecord& record, const Json& row, const ImageOptions& options);
  /// Those of a part's statistics.
  void merge(const Json& samples);

  /// [{"checksum", "thumbnail": data URI, "row"}, ...]
  Json to_json() const;

 private:
  using Chosen = std::map<std::pair<std::string, std::string>, Json>;  ///< by checksum and key
  bool would_take(const Chosen& chosen, const std::pair<std::string, std::string>& rank) const;
  void take(const std::pair<std::string, std::string>& rank, Json sample);
  Chosen& group_of(const Json& row);

  std::size_t of_each_;
  Chosen whole_, partly_;
};

}  // namespace blip::cli
