#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/tasks/engine.h"

namespace blip {

enum class FeatureKind {
  raw,         ///< the first token's state, as the encoder leaves it
  projected,   ///< that, projected into the space that pictures and texts share
  normalised,  ///< that, scaled to length 1, so that dot products are cosines: what ITC compares
};

struct FeatureOptions {
  FeatureKind kind = FeatureKind::normalised;
  /// Longer texts are cut to so many tokens; 0: as many as the model has positions for.
  int max_length = 0;
};

/// One vector for each picture, text or pair.
struct Features {
  std::size_t width = 0;
  std::vector<float> values;    ///< [count, width]
  std::vector<bool> truncated;  ///< [count]: the text was cut; never so for pictures
};

/// Vectors for search, clustering and other programs' models. Transformers' BlipModel projects
/// pooled states by layers of its own; every other checkpoint has the paper's projections or none.
class BLIP_API FeatureExtractor {
 public:
  explicit FeatureExtractor(Engine engine) : engine_(std::move(engine)) {}

  /// Whether the checkpoint can project pictures and texts, and pairs of them.
  bool projects() const;
  bool projects_pairs() const;

  /// These throw Error{unsupported} when the checkpoint lacks what it takes, Error{usage} for a
  /// text without words, Error{cancelled}.
  Features image_features(std::span<const EncodedImage> images, FeatureKind kind,
                          const Context& context = {}) const;
  Features text_features(std::span<const std::string> texts, const FeatureOptions& options,
                         const Context& context = {}) const;
  /// Of a picture with each of the texts: the image-grounded text encoder with [ENC] in front. Only
  /// transformers' BlipModel has a projection for it (and keeps [CLS]); others have the raw kind.
  Features multimodal_features(const EncodedImage& image, std::span<const std::string> texts,
                               const FeatureOptions& options, const Context& context = {}) const;

  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
};

}  // namespace blip
