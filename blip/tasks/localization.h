#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/image/image.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/first_token.h"

namespace blip {

struct LocalizationOptions {
  /// Weigh attention by how much it speaks for a match: its gradient of the ITM logit, where
  /// positive (GradCAM as ALBEF and LAVIS take it). Off: attention as it is. Nothing: on where the
  /// checkpoint has an ITM head.
  std::optional<bool> gradient;
  /// Layers whose cross-attention is averaged, from 0. Empty: with the gradient the 8th of 12 (or
  /// as far up), as LAVIS takes it; else the last.
  std::vector<int> layers;
  FirstToken first_token = FirstToken::enc;  ///< of a text encoder that matches
  /// Longer texts are cut to so many tokens; 0: as many as the model has positions for.
  int max_length = 35;
};

/// Where a text, or words of it, look in a picture.
struct HeatMap {
  int rows = 0;               ///< of patches
  int columns = 0;            ///< of patches
  std::vector<float> values;  ///< [rows, columns], at least 0; mean over heads, layers and tokens
  bool truncated = false;     ///< the text was cut
};

/// Cross-attention maps: of the text encoder where the checkpoint has one, else of the text decoder
/// at the step that writes each token.
class BLIP_API Localizer {
 public:
  /// Throws Error{unsupported} for a checkpoint whose texts look at no picture, or at two.
  explicit Localizer(Engine engine);

  /// One map for each of `words`, wherever it stands in `text` (a word or several, as their tokens
  /// follow each other); without `words`, one of the whole text.
  /// Throws Error{usage} for words that the text does not have, layers that the model does not
  /// have, and a text without words; Error{unsupported} for a gradient without ITM head;
  /// Error{cancelled}.
  std::vector<HeatMap> locate(const EncodedImage& image, const std::string& text,
                              std::span<const std::string> words,
                              const LocalizationOptions& options = {},
                              const Context& context = {}) const;

  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
};

/// `picture` with `map` laid over it: from blue to red the warmer, most transparent where it is
/// coldest. The map's least value becomes cold and its largest hot. Throws Error{usage} for a map
/// whose values are not rows * columns.
BLIP_API Image overlay(const Image& picture, const HeatMap& map);

}  // namespace blip
