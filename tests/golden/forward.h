#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "blip/model/blip.h"
#include "tests/golden/golden.h"

namespace blip::golden {

/// A batch of texts padded to [rows, columns], without its padding.
std::vector<std::vector<int>> unpadded_rows(const Tensors& tensors, const std::string& ids,
                                            const std::string& mask);

/// Values that a forward pass computed, collected over the pictures or texts of a batch.
class Computed {
 public:
  /// Appends one picture's or text's value to the batch called `name`.
  void append(const std::string& name, std::span<const float> values);
  /// A probe that appends under `prefix` + the intermediate's own name ("vision." or "text." cut
  /// off).
  Probe probe(const std::string& prefix);

  const std::vector<float>* find(const std::string& name) const;

 private:
  std::map<std::string, std::vector<float>> values_;
};

/// pixel_values [B, 3, H, W] of `tensors` through the vision encoder; every intermediate is
/// appended as "vision.*". Returns each picture's image_embeds.
std::vector<Tensor> encode_pictures(const BlipModel& model, const Tensors& tensors,
                                    const std::string& pixel_values, Computed& computed);

/// Logits [tokens, V] of one text that looks at `states`, intermediates appended under `prefix`.
std::vector<float> decoder_logits(const TextDecoder& decoder, const Tensor& states,
                                  const std::vector<int>& text, const std::string& prefix,
                                  Computed& computed);

/// Compares logits [tokens, V] of a batch's texts with the digests that golden files keep of them:
/// "<prefix>logits_every61", "..._top16_values" at "..._top16_ids", "..._logsumexp".
void expect_logits(const Tensors& expected, const std::string& prefix,
                   const std::vector<std::vector<float>>& logits, int vocab_size);

/// Cross-entropy summed over one text's labels (-100: none), shifted by one, and their number.
struct Loss {
  double sum = 0;
  int count = 0;
};
Loss text_loss(std::span<const float> logits, std::span<const int> labels, int vocab_size,
               double label_smoothing);

/// Compares `computed` [texts' tokens, width] with a padded tensor [rows, columns, width], real
/// tokens only.
void expect_ragged(const Tensors& expected, const std::string& name,
                   std::span<const float> computed, std::span<const std::vector<int>> texts);

}  // namespace blip::golden
