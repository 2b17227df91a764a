#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/base/precision.h"
#include "blip/generation/generation_config.h"
#include "blip/image/image.h"

namespace blip {

class BlipModel;
class ImageProcessor;
class Tokenizer;
struct Checkpoint;

/// How a checkpoint is opened.
struct EngineOptions {
  /// Side in pixels that pictures are squashed to; 0: the checkpoint's. Another than the
  /// checkpoint's interpolates the position embeddings.
  int image_size = 0;
  /// Attention heads of a .pth file's vision encoder; 0: width / 64, as ViT-B and ViT-L have.
  int vision_heads = 0;
  /// Nothing: as the checkpoint's matrices are stored, but bf16 for f32 and f16 where the CPU
  /// multiplies bf16. Others than stored are converted at each start; convert_checkpoint() does it
  /// once. An int8 checkpoint is int8 always.
  std::optional<Precision> precision;
  /// Folder of the vocabulary; empty: the checkpoint's own (of a .pth: bert-base-uncased's, which
  /// comes with the program).
  std::filesystem::path tokenizer;
  /// That convert weights, if they are not stored as they are run; 0: one per core that this
  /// process may use. They end with the loading.
  int num_threads = 0;
};

/// A picture after the vision encoder: encode once, then caption it, ask it questions, compare it
/// with texts, as often as wanted. What tasks compute of it for themselves is kept with it. A cheap
/// handle; copies share the data. Safe to share between threads.
class BLIP_API EncodedImage {
 public:
  /// image_embeds [tokens, width], row-major.
  std::span<const float> image_embeds() const;
  int num_tokens() const;

  // For the project's own tasks; the type is not among the installed headers.
  struct Data;
  const Data* data() const { return data_.get(); }

 private:
  friend class Engine;
  std::shared_ptr<const Data> data_;
};

/// An opened checkpoint with everything that its tasks need: weights, tokenizer, image processor,
/// generation defaults. Immutable and safe to share between threads; copies share the weights.
class BLIP_API Engine {
 public:
  /// Opens a folder in the Hugging Face layout or a .pth of the original code. Weights are mapped,
  /// not copied, where they are f32.
  /// Throws Error{not_found, io, bad_model, unsupported, usage}.
  static Engine load(const std::filesystem::path& model, const EngineOptions& options = {});

  /// Runs the image processor and the vision encoder. Throws Error{cancelled}.
  std::vector<EncodedImage> encode(std::span<const Image> images,
                                   const Context& context = {}) const;
  /// The vision encoder alone, for `pixel_values` [3, height, width] that were made elsewhere.
  /// Throws Error{usage} when a side is no multiple of the patch size, Error{cancelled}.
  EncodedImage encode_pixel_values(std::span<const float> pixel_values, int height, int width,
                                   const Context& context = {}) const;
  /// The same for several pictures of one size: faster together, with the same bits.
  std::vector<EncodedImage> encode_pixel_values(std::span<const std::span<const float>> pictures,
                                                int height, int width,
                                                const Context& context = {}) const;

  /// Pictures of the checkpoint's size that are faster together than one by one; more gain nothing.
  std::size_t pictures_at_once() const;

  /// What its linear layers multiply in.
  Precision precision() const;

  /// The checkpoint's generation defaults (generation_config.json over transformers').
  const GenerationConfig& default_generation() const;

  // For the project's own programs; these types are not among the installed headers.
  const BlipModel& model() const;
  const Tokenizer& tokenizer() const;
  const ImageProcessor& image_processor() const;
  const Checkpoint& checkpoint() const;

 private:
  struct Data;
  explicit Engine(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace blip
