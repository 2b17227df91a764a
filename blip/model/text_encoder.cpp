#include "blip/model/text_encoder.h"

#include <algorithm>
#include <vector>

namespace blip {

TextEncoder::TextEncoder(const TextConfig& config, const Parameters& parameters,
                         const std::string& prefix, int cross_width)
    : med_(config, parameters, prefix, cross_width) {}

Tensor TextEncoder::forward(std::span<const EncoderText> texts, const Context& context,
                            const Probe& probe, Batching batching) const {
  std::vector<int> ids, positions;
  std::vector<SequenceLength> lengths;
  std::vector<CrossGroup> groups;
  for (const EncoderText& text : texts) {
    for (std::size_t t = 0; t < text.tokens.size(); ++t) {
      ids.push_back(text.tokens[t]);
      positions.push_back(static_cast<int>(t));
    }
    lengths.push_back({text.tokens.size(), text.padding});
    if (text.image == nullptr) continue;
    if (groups.empty() || groups.back().image != text.image) groups.push_back({text.image, 0});
    groups.back().rows += text.tokens.size();
  }
  Med::Scratch scratch;
  if (batching == Batching::fast) scratch.allow_many_rows();
  med_.embed(ids, positions, scratch);
  med_.forward(ids.size(), attend_within(med_.attention(), std::move(lengths)), groups, scratch,
               context, probe);
  Tensor hidden({static_cast<std::int64_t>(ids.size()), med_.config().hidden_size});
  std::copy_n(scratch.x(), hidden.size(), hidden.data());
  return hidden;
}

}  // namespace blip
