#include "train/model/image_text_task.h"

#include <algorithm>

#include "blip/checkpoint/names.h"
#include "train/model/precision.h"

namespace blip::train {
namespace {

using torch::Tensor;

constexpr double kMinTemperature = 0.001, kMaxTemperature = 0.5;

double ramped(double alpha, double epochs, const Progress& progress) {
  const double steps = epochs * static_cast<double>(progress.steps_per_epoch);
  return steps <= 0 ? alpha : alpha * std::min(1.0, static_cast<double>(progress.step) / steps);
}

/// Cross-entropy with soft labels, the mean over rows.
Tensor soft_cross_entropy(const Tensor& logits, const Tensor& labels) {
  return -(logits.log_softmax(1) * labels).sum(1).mean();
}

/// [B, T] of every rank, padded with zeros to the longest.
Tensor gather_texts(const Tensor& tokens, Communicator& communicator) {
  const Tensor length = torch::full({1}, tokens.size(1), tokens.options());
  const std::int64_t longest = communicator.all_gather(length).max().item<std::int64_t>();
  return communicator.all_gather(at::constant_pad_nd(tokens, {0, longest - tokens.size(1)}));
}

/// Rows of both, padded with zeros to the longer.
Tensor joined(const std::vector<Tensor>& tokens) {
  std::int64_t longest = 0;
  for (const Tensor& one : tokens) longest = std::max(longest, one.size(1));
  std::vector<Tensor> padded;
  for (const Tensor& one : tokens) {
    padded.push_back(at::constant_pad_nd(one, {0, longest - one.size(1)}));
  }
  return at::cat(padded);
}

Sight joined(const Sight& first, const Sight& second) {
  Sight both;
  for (std::size_t i = 0; i < first.layers.size(); ++i) {
    both.layers.push_back({at::cat({first.layers[i].keys, second.layers[i].keys}),
                           at::cat({first.layers[i].values, second.layers[i].values})});
  }
  return both;
}

}  // namespace

ImageTextTask::ImageTextTask(Architecture architecture, TaskOptions options)
    : ModelTask(architecture, std::move(options)),
      encoders_(this->options(), parameters_by_name(), this->options().config.vision.hidden_size),
      itm_head_(parameters_by_name().linear("itm_head", 2, this->options().config.text.hidden_size,
                                            Fill::uniform)),
      temperature_(register_parameter("temp", torch::full({}, this->options().temperature))),
      momentum_(this->options(), *this),
      queue_(*this, this->options().config.image_text_hidden_size, this->options().queue_size) {
  reset_training_state();
}

ModelTask::Named ImageTextTask::training_state() const {
  const bool retrieval = options().config.architecture == Architecture::retrieval;
  Named named = {{"temp", temperature_},
                 {"image_queue", queue_.images},
                 {"text_queue", queue_.texts},
                 {retrieval ? "ptr_queue" : "queue_ptr", queue_.pointer}};
  if (retrieval) named.emplace_back("idx_queue", queue_.image_ids);
  for (const Parameters::Entry& entry : momentum_.parameters().entries()) {
    const std::string name = authors_name(entry.name);
    const std::size_t dot = name.find('.');
    named.emplace_back(name.substr(0, dot) + "_m" + name.substr(dot), entry.tensor);
  }
  return named;
}

ImageTextTask::Encoded ImageTextTask::contrast(const Batch& batch, const Progress& progress,
                                               Communicator& communicator) {
  {
    torch::NoGradGuard no_grad;
    temperature_.clamp_(kMinTemperature, kMaxTemperature);
  }
  const Texts texts{batch.input_ids, batch.attention_mask};
  Encoded out;
  out.image_embeds = vision().forward(batch.pixel_values, is_training());
  out.features.images = encoders_.image_features(out.image_embeds);
  out.features.texts =
      encoders_.text_features(encoders_.text().forward(texts, nullptr, is_training()));

  momentum_.update(parameters_by_name(), options().momentum);
  const Features slow = momentum_.features(batch.pixel_values, texts, is_training());
  const Features gathered = {communicator.all_gather(slow.images),
                             communicator.all_gather(slow.texts)};
  const bool all = spans_ranks(communicator);
  const Features& near = all ? gathered : slow;

  const FullPrecision full_precision;
  const std::int64_t rows = slow.images.size(0);
  // Without ids each text belongs to the picture in its own place, and to none of the queue.
  const Tensor ids = batch.image_ids.defined() ? batch.image_ids
                                               : torch::arange(rows, batch.input_ids.options()) +
                                                     (all ? communicator.rank() * rows : 0);
  const Tensor gathered_ids = communicator.all_gather(ids);
  const Tensor columns = at::cat({all ? gathered_ids : ids, queue_.image_ids.view(-1)});
  const Tensor same = ids.unsqueeze(1) == columns.unsqueeze(0);
  const Tensor truth = same.to(torch::kFloat) / same.sum(1, true);
  out.same_picture = same.slice(1, 0, near.images.size(0));
  const Tensor images = at::cat({near.images.t(), queue_.images}, 1);
  const Tensor known_texts = at::cat({near.texts.t(), queue_.texts}, 1);
  const double alpha = ramped(options().alpha, options().alpha_ramp_epochs, progress);
  const auto labels = [&](const Tensor& similarities) {
    torch::NoGradGuard no_grad;
    return alpha * (similarities / temperature_).softmax(1) + (1 - alpha) * truth;
  };
  out.image_to_texts = out.features.images.matmul(known_texts) / temperature_;
  out.text_to_images = out.features.texts.matmul(images) / temperature_;
  out.loss = (soft_cross_entropy(out.image_to_texts, labels(slow.images.matmul(known_texts))) +
              soft_cross_entropy(out.text_to_images, labels(slow.texts.matmul(images)))) /
             2;
  queue_.push(gathered, batch.image_ids.defined() ? gathered_ids : Tensor());
  return out;
}

ImageTextTask::Negatives ImageTextTask::choose(const Tensor& weights_of_images,
                                               const Tensor& weights_of_texts,
                                               const Progress& progress,
                                               const Communicator& communicator) const {
  const auto draw = [&](const Tensor& weights, std::int64_t salt) {
    if (chooser_) return chooser_(weights);
    return draw_negatives(weights, options().seed, progress.step, salt, communicator);
  };
  Negatives negatives;
  negatives.images = draw(weights_of_images, 0);
  negatives.texts = draw(weights_of_texts, 1);
  return negatives;
}

Tensor ImageTextTask::match(const Batch& batch, const Encoded& encoded, const Negatives& negatives,
                            const Sight& sight, Communicator& communicator) const {
  const Tensor ids = with_first(batch.input_ids, options().enc_token_id);
  const bool all = spans_ranks(communicator);
  const Tensor known_ids = all ? gather_texts(ids, communicator) : ids;
  const Tensor known_mask =
      all ? gather_texts(batch.attention_mask, communicator) : batch.attention_mask;
  // The right pairs, then each text with a wrong picture, then each picture with a wrong text.
  const Texts texts{joined({ids, ids, known_ids.index_select(0, negatives.texts)}),
                    joined({batch.attention_mask, batch.attention_mask,
                            known_mask.index_select(0, negatives.texts)})};
  const Tensor own = torch::arange(ids.size(0), ids.options());
  Sight seen;
  if (all) {
    const Tensor wrong = communicator.all_gather_with_gradient(encoded.image_embeds)
                             .index_select(0, negatives.images);
    seen = joined(sight, encoders_.text().project(wrong));
    seen = seen.select(at::cat({own, own + ids.size(0), own}));
  } else {
    seen = sight.select(at::cat({own, negatives.images, own}));
  }
  const Tensor hidden = encoders_.text().forward(texts, &seen, is_training());
  const Tensor logits = itm_head_(hidden.select(1, 0)).to(torch::kFloat);
  const Tensor labels =
      at::cat({torch::ones_like(own), torch::zeros_like(own), torch::zeros_like(own)});
  return at::cross_entropy_loss(logits, labels);
}

}  // namespace blip::train
