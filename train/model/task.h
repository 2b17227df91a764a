#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blip/checkpoint/config.h"

namespace blip::train {

/// One batch on the device. B pictures (NLVR2: 2B, all left ones first), T text tokens.
struct Batch {
  torch::Tensor pixel_values;  ///< [B, 3, S, S] f32, normalised
  /// [B, T] i64; [CLS] first, [SEP] last, [PAD] after: captions, questions, statements.
  torch::Tensor input_ids, attention_mask;
  /// [B] i64: leading tokens ([CLS] and the prompt) that LM does not learn; undefined: none.
  torch::Tensor prompt_lengths;
  /// [B] i64, equal for captions of one picture (retrieval); undefined elsewhere.
  torch::Tensor image_ids;
  /// [A, Ta] i64: the answers of all questions, one after the other (VQA); [CLS] first as above.
  torch::Tensor answer_ids, answer_mask;
  torch::Tensor answer_counts;    ///< [B] i64, they sum to A
  torch::Tensor answer_weights;   ///< [A] f32
  torch::Tensor labels;           ///< [B] i64, 1 = true (NLVR2)
  std::vector<std::string> keys;  ///< of the records, for messages
};

/// Where training stands.
struct Progress {
  std::int64_t step = 0;  ///< since the start of training
  double epoch = 0;       ///< whole epochs done
  std::int64_t steps_per_epoch = 1;
};

/// Scalars by name ("loss_ita", "loss_itm", "loss_lm", "loss_nlvr"); their sum is minimised.
using Losses = std::vector<std::pair<std::string, torch::Tensor>>;

/// What gathers features over ranks. Every rank calls in the same order with tensors of one shape.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  /// [n, ...] -> [size * n, ...] in rank order, without a gradient.
  virtual torch::Tensor all_gather(const torch::Tensor& tensor) = 0;
  /// The same with a gradient: each rank's part gets the sum of what all ranks send back for it.
  virtual torch::Tensor all_gather_with_gradient(const torch::Tensor& tensor) = 0;
};

/// One process alone.
class SingleProcess final : public Communicator {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  torch::Tensor all_gather(const torch::Tensor& tensor) override { return tensor.detach(); }
  torch::Tensor all_gather_with_gradient(const torch::Tensor& tensor) override { return tensor; }
};

/// How weights are written.
enum class Layout {
  hugging_face,  ///< FOLDER/model.safetensors and FOLDER/config.json
  authors,       ///< FOLDER/model.pth and FOLDER/med_config.json
};

/// A model that is trained, with its losses. parameters() are what an optimiser updates (those that
/// require a gradient); momentum copies and queues are buffers.
class Task : public torch::nn::Module {
 public:
  /// One forward pass. Also moves momentum copies and queues, as the authors' forward does. Losses
  /// are such that their mean over ranks is the loss of the whole batch, and so for gradients.
  virtual Losses losses(const Batch& batch, const Progress& progress,
                        Communicator& communicator) = 0;
  /// To be called after each step of the optimiser.
  virtual void after_step() {}
  /// Every tensor that a bit-exact resume needs, in a fixed order: parameters, momentum copies,
  /// queues, their pointers. To be copied into, never replaced.
  virtual std::vector<torch::Tensor> state() = 0;
  /// Writes the weights into a folder that exists, each file whole or not at all. LoRA is merged.
  /// Throws Error{io}.
  virtual void save_pretrained(const std::filesystem::path& folder, Layout layout) const = 0;
};

/// Low-rank updates of frozen matrices (arXiv 2106.09685).
struct LoraOptions {
  std::int64_t rank = 0;  ///< 0: none
  double alpha = 16;      ///< updates are scaled by alpha / rank
  /// Ends of the names of linear layers that get one, such as "qkv" and "self.query".
  std::vector<std::string> targets = {"qkv", "self.query", "self.value"};
};

/// Everything that decides what a task is. The defaults are the authors'.
struct TaskOptions {
  /// Sizes; the architecture is set by the task. A checkpoint's is in blip::Checkpoint::config.
  BlipConfig config;
  std::int64_t cls_token_id = 101;    ///< [CLS]: texts alone
  std::int64_t enc_token_id = 30523;  ///< [ENC]: texts that look at a picture
  std::int64_t seed = 42;             ///< of hard negatives, together with the step

  double alpha = 0.4;               ///< weight of the momentum models' soft labels (ITC)
  double alpha_ramp_epochs = 2;     ///< over which it grows from 0; 2 for pre-training, 1 else
  double momentum = 0.995;          ///< of the momentum copies
  std::int64_t queue_size = 57600;  ///< a multiple of the global batch
  double temperature = 0.07;        ///< of ITC at the start
  /// ITC compares with, and ITM draws hard negatives from, the batches of all ranks.
  bool negatives_across_ranks = true;
  double label_smoothing = 0.1;  ///< LM

  double dropout = 0.1;              ///< of the text model
  double drop_path = 0;              ///< stochastic depth of the ViT's last layer; less before it
  int vision_checkpoint_layers = 0;  ///< that many last ViT layers are computed again in backward
  int text_checkpoint_layers = 0;    ///< the same for the text model
  std::vector<std::string> frozen;   ///< beginnings of parameter names that are not trained
  LoraOptions lora;
};

/// "pretrain", "caption", "retrieval", "vqa" or "nlvr" with random weights from torch's generator
/// (train/model/weights.h loads others). Throws Error{usage} for another name or options that make
/// no sense, Error{bad_model} for a configuration that none can have.
std::shared_ptr<Task> make_task(const std::string& name, const TaskOptions& options);

}  // namespace blip::train
