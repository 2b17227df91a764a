#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/matching.h"

namespace blip::cli {

/// --captions, --rank, --rank-model
struct RankingFlags {
  int captions = 0;  ///< 0: as many as the generation's options say
  std::string score;
  std::string model;

  void add_to(CLI::App& command);
  bool given() const { return !score.empty(); }
};

/// A caption and how well it fits its picture.
struct RankedCaption {
  Caption caption;
  double score = 0;
};

/// Orders the captions of a picture by ITM or ITC.
class CaptionRanker {
 public:
  /// Throws Error{unsupported} when `judge` has no head for it.
  CaptionRanker(Engine judge, const RankingFlags& flags);

  /// Best first, the earlier of equals; texts that are equal count once, empty ones come last.
  /// `image` is the judge's. Throws Error{cancelled}.
  std::vector<RankedCaption> rank(const EncodedImage& image, std::vector<Caption> captions,
                                  const Context& context) const;

  /// The score's key in JSON.
  const char* key() const { return options_.itm ? "itm_probability" : "itc_similarity"; }

 private:
  Matcher matcher_;
  MatchOptions options_;
};

}  // namespace blip::cli
