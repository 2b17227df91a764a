#include "train/data/collation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/image/decode.h"

namespace blip::train {
namespace {

using Ids = std::vector<std::vector<int>>;

/// [B, T] ids and their mask.
std::pair<torch::Tensor, torch::Tensor> padded(const Ids& texts, int pad, std::int64_t length) {
  for (const auto& text : texts) length = std::max(length, static_cast<std::int64_t>(text.size()));
  const auto rows = static_cast<std::int64_t>(texts.size());
  torch::Tensor ids = torch::full({rows, length}, pad, torch::kLong);
  torch::Tensor mask = torch::zeros({rows, length}, torch::kLong);
  auto id = ids.accessor<std::int64_t, 2>();
  auto seen = mask.accessor<std::int64_t, 2>();
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto& text = texts[static_cast<std::size_t>(row)];
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(text.size()); ++i) {
      id[row][i] = text[static_cast<std::size_t>(i)];
      seen[row][i] = 1;
    }
  }
  return {ids, mask};
}

/// "left" for "right" and the other way round, where they are words of their own.
std::string exchange_sides(const std::string& text) {
  std::string out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    out += word == "left" ? "right" : word == "right" ? "left" : word;
    if (end < text.size()) out += ' ';
    begin = end + 1;
  }
  return out;
}

torch::Tensor longs(const std::vector<std::int64_t>& values) {
  return torch::tensor(values, torch::kLong);
}

std::vector<Image> load_pictures(const Record& record) {
  // As the authors' loader: PIL's convert("RGB").
  const ImageOptions options{.alpha = AlphaMode::drop};
  std::vector<Image> images;
  for (const std::string& bytes : record.encoded) {
    try {
      images.push_back(decode_image(std::as_bytes(std::span(bytes)), options));
    } catch (const Error& e) {
      throw Error(e.code(), record.key + ": " + e.what());
    }
  }
  for (const std::string& file : record.pictures) images.push_back(load_image(file, options));
  return images;
}

}  // namespace

Collator::Collator(const Tokenizer& tokenizer, const DataOptions& data, DataKind kind,
                   const ImageProcessorConfig& processor)
    : tokenizer_(tokenizer), data_(data), kind_(kind), processor_(processor) {
  if (!data.prompt.empty()) {
    prompt_length_ = static_cast<std::int64_t>(tokenizer.encode(data.prompt).size()) - 1;
    if (prompt_length_ + 2 > data.text_length) {
      throw Error(ErrorCode::usage, "\"data.prompt\" has " + std::to_string(prompt_length_) +
                                        " tokens with [CLS]; \"data.text_length\" leaves no room");
    }
  }
}

Example Collator::prepare(Record record, const AugmentationOptions& augmentation,
                          std::uint64_t random) const {
  const ThreadScope one_thread(Context{1});  // other records keep the other cores busy
  Random draws(random);
  Example example;
  for (const Image& image : load_pictures(record)) {
    example.images.push_back(augment(image, processor_.config().width, augmentation, draws));
  }
  record.encoded.clear();
  if (kind_ == DataKind::statements && augmentation.enabled && draws.uniform() < 0.5) {
    std::swap(example.images[0], example.images[1]);
    record.text = exchange_sides(record.text);
  }
  example.record = std::move(record);
  return example;
}

torch::Tensor Collator::pixels(std::span<const Example> examples) const {
  const auto per_example = static_cast<std::int64_t>(examples.front().images.size());
  const auto count = static_cast<std::int64_t>(examples.size());
  const std::int64_t side = processor_.config().width;
  torch::Tensor out = torch::empty({per_example * count, 3, side, side});
  const std::int64_t stride = 3 * side * side;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t k = 0; k < per_example; ++k) {  // all left ones first
      processor_.process(examples[static_cast<std::size_t>(i)].images[static_cast<std::size_t>(k)],
                         out.data_ptr<float>() + (k * count + i) * stride);
    }
  }
  return out;
}

Batch Collator::collate(std::span<const Example> examples) const {
  Batch batch;
  batch.pixel_values = pixels(examples);
  Ids texts, answers;
  std::vector<std::int64_t> image_ids, counts, labels;
  std::vector<float> weights;
  const auto length = static_cast<std::size_t>(data_.text_length);
  for (const Example& example : examples) {
    const Record& record = example.record;
    batch.keys.push_back(record.key);
    texts.push_back(tokenizer_.encode_truncated(record.text, length));
    image_ids.push_back(record.image_id);
    labels.push_back(record.label ? 1 : 0);
    counts.push_back(static_cast<std::int64_t>(record.answers.size()));
    for (const std::string& answer : record.answers) {
      answers.push_back(tokenizer_.encode_truncated(answer, length));
    }
    weights.insert(weights.end(), record.weights.begin(), record.weights.end());
  }
  std::tie(batch.input_ids, batch.attention_mask) =
      padded(texts, tokenizer_.pad_id(), data_.pad_to_length ? data_.text_length : 0);
  if (kind_ == DataKind::captions) batch.image_ids = longs(image_ids);
  if (kind_ == DataKind::statements) batch.labels = longs(labels);
  if (kind_ == DataKind::questions) {
    std::tie(batch.answer_ids, batch.answer_mask) = padded(answers, tokenizer_.pad_id(), 0);
    batch.answer_counts = longs(counts);
    batch.answer_weights = torch::tensor(weights);
  }
  if (prompt_length_ > 0) {
    batch.prompt_lengths =
        torch::full({static_cast<std::int64_t>(examples.size())}, prompt_length_, torch::kLong);
  }
  return batch;
}

}  // namespace blip::train
