#include "apps/cli/kohya_names.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace blip::cli {
namespace {

struct KohyaName {
  std::string_view theirs;
  std::string_view ours;  ///< empty: nothing
  bool takes_value = true;
};

constexpr KohyaName kNames[] = {
    {"--caption_extension", "--sidecar"},
    {"--caption_extention", "--sidecar"},  // an older spelling
    {"--caption_weights", "--model"},
    {"--batch_size", "--batch-size"},
    {"--num_beams", "--num-beams"},
    {"--top_p", "--top-p"},
    {"--max_length", "--max-length"},
    {"--min_length", "--min-length"},
    {"--beam_search", "", false},  // --num-beams says it
    {"--max_data_loader_n_workers", ""},
    {"--debug", "", false},
};

}  // namespace

std::vector<std::string> without_kohya_names(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.front() != "caption") return arguments;
  const bool beams =
      std::find(arguments.begin(), arguments.end(), "--beam_search") != arguments.end();
  std::vector<std::string> ours;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string name = arguments[i].substr(0, arguments[i].find('='));
    const auto known = std::find_if(std::begin(kNames), std::end(kNames),
                                    [&](const KohyaName& n) { return n.theirs == name; });
    if (known == std::end(kNames)) {
      ours.push_back(arguments[i]);
      continue;
    }
    std::vector<std::string> value;
    if (name.size() < arguments[i].size()) {
      value.push_back(arguments[i].substr(name.size() + 1));
    } else if (known->takes_value && i + 1 < arguments.size()) {
      value.push_back(arguments[++i]);
    }
    if (name == "--max_data_loader_n_workers" || name == "--debug") {
      std::fprintf(stderr, "blip: %s has no meaning here and is left out\n", name.c_str());
    } else if (!known->ours.empty() && !(name == "--top_p" && beams)) {
      // Their captions are sampled unless --beam_search is given; ours only on request.
      if (name == "--top_p") ours.push_back("--do-sample");
      ours.emplace_back(known->ours);
      ours.insert(ours.end(), value.begin(), value.end());
    }
  }
  return ours;
}

}  // namespace blip::cli
