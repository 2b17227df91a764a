#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "blip/model/blip.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/matching.h"
#include "tests/golden/golden.h"

namespace blip::golden {

inline constexpr int kEncToken = 30523;

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

/// The same pictures as tasks take them.
std::vector<EncodedImage> encode_for_tasks(const Engine& engine, const Tensors& tensors,
                                           const std::string& pixel_values);

/// Every picture with every text, by the task: [pictures, texts] (logits [pictures, texts, 2]).
struct MatchScores {
  std::vector<float> itm_logits, itm_probability, itc_similarity;
};
MatchScores match_all(const Engine& engine, std::span<const EncodedImage> images,
                      std::span<const std::string> texts, const MatchOptions& options);

/// Logits [tokens, V] of one text that looks at `states`, intermediates appended under `prefix`.
std::vector<float> decoder_logits(const TextDecoder& decoder, const Tensor& states,
                                  const std::vector<int>& text, const std::string& prefix,
                                  Computed& computed);

/// Cross-entropy summed over one text's labels (-100: none), shifted by one, and their number.
struct Loss {
  double sum = 0;
  int count = 0;
};
Loss text_loss(std::span<const float> logits, std::span<const int> labels, int vocab_size,
               double label_smoothing);

/// The same for each text of a batch with labels [texts, columns].
std::vector<Loss> text_losses(const std::vector<std::vector<float>>& logits,
                              std::span<const int> labels, int vocab_size, double label_smoothing);
/// The mean over the tokens of all texts.
float mean_loss(const std::vector<Loss>& losses);

/// A case's expected values, each of which must be compared or be left out by name. What a file
/// does not have is not compared.
class Expected {
 public:
  explicit Expected(const std::filesystem::path& file) : values_(file) {}

  void expect(const std::string& name, std::span<const float> got,
              Tolerance tolerance = kHiddenStates);
  bool contains(const std::string& name) const { return values_.contains(name); }
  /// Expected ids, which the caller compares.
  std::vector<int> ints(const std::string& name);
  /// `got` [texts' tokens, width] against a padded tensor [rows, columns, width]: real tokens only.
  void expect_ragged(const std::string& name, std::span<const float> got,
                     std::span<const std::vector<int>> texts);
  /// Everything computed under a name that starts with `prefix`; texts when these are not padded.
  void expect_computed(const std::string& prefix, const Computed& computed);
  void expect_computed(const std::string& prefix, const Computed& computed,
                       std::span<const std::vector<int>> texts);
  /// Logits [tokens, V] of a batch's texts against the digests that the files keep of them:
  /// "<prefix>logits_every61", "..._top16_values" at "..._top16_ids", "..._logsumexp".
  void expect_logits(const std::string& prefix, const std::vector<std::vector<float>>& logits,
                     int vocab_size);

  /// Names that start with `prefix` are not compared: say why beside the call.
  void leave_out(const std::string& prefix);
  /// Fails for a value that nothing compared, so that none is left out unseen.
  void expect_all_compared() const;

 private:
  Tensors values_;
  std::set<std::string> done_;
};

}  // namespace blip::golden
