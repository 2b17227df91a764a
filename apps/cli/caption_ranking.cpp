#include "apps/cli/caption_ranking.h"

#include <algorithm>
#include <set>
#include <utility>

#include "blip/base/error.h"
#include "blip/model/blip.h"

namespace blip::cli {

void RankingFlags::add_to(CLI::App& command) {
  const auto add = [](CLI::Option* option) { return option->group("Several captions"); };
  add(command.add_option("--captions", captions,
                         "captions of each picture, sampled (top-p 0.9) unless generation options "
                         "say otherwise"))
      ->check(CLI::Range(1, 1024))
      ->excludes(command.get_option("--num-return-sequences"));
  CLI::Option* rank = add(command.add_option("--rank", score,
                                             "order captions by how well they fit the picture, and "
                                             "keep the best: itm (the exact score) or "
                                             "itc (much faster)"));
  rank->check(CLI::IsMember({"itm", "itc"}))->allow_extra_args(false);
  add(command.add_option("--rank-model", model,
                         "checkpoint that judges them (default: the model itself)"))
      ->needs(rank);
}

CaptionRanker::CaptionRanker(Engine judge, const RankingFlags& flags) : matcher_(std::move(judge)) {
  options_.itm = flags.score == "itm";
  options_.itc = flags.score == "itc";
  const BlipModel& model = matcher_.engine().model();
  if (options_.itm ? model.has_itm_head() : model.has_itc_heads()) return;
  throw Error(ErrorCode::unsupported,
              flags.model.empty()
                  ? "this checkpoint cannot judge its captions (--rank " + flags.score +
                        "): name one that can with --rank-model, such as blip-itm-base-coco"
                  : "--rank-model " + flags.model + " has no head for --rank " + flags.score);
}

std::vector<RankedCaption> CaptionRanker::rank(const EncodedImage& image,
                                               std::vector<Caption> captions,
                                               const Context& context) const {
  std::set<std::string> seen;
  std::vector<std::string> texts;
  std::vector<RankedCaption> ranked;
  std::vector<RankedCaption> empty;
  for (Caption& caption : captions) {
    if (!seen.insert(caption.text).second) continue;
    if (caption.text.find_first_not_of(' ') == std::string::npos) {
      empty.push_back({std::move(caption), 0});
    } else {
      texts.push_back(caption.text);
      ranked.push_back({std::move(caption), 0});
    }
  }
  const std::vector<MatchText> encoded = matcher_.encode(texts, options_, context);
  const std::vector<Match> matches = matcher_.match(image, encoded, context);
  for (std::size_t i = 0; i < ranked.size(); ++i)
    ranked[i].score = options_.itm ? matches[i].itm_probability : matches[i].itc_similarity;
  std::stable_sort(
      ranked.begin(), ranked.end(),
      [](const RankedCaption& a, const RankedCaption& b) { return a.score > b.score; });
  std::move(empty.begin(), empty.end(), std::back_inserter(ranked));
  return ranked;
}

}  // namespace blip::cli
