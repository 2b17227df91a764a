#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blip::train {

/// What a task learns from.
enum class DataKind {
  captions,    ///< a picture and a text: pretrain, caption, retrieval
  questions,   ///< a picture, a question, weighted answers: vqa
  statements,  ///< two pictures, a statement, true or false: nlvr
};

/// Where records come from and how they are prepared.
struct DataOptions {
  /// Folders with sidecars, .json, .jsonl, "questions.json+annotations.json", tar shards.
  std::vector<std::string> train;
  /// Folders that pictures' names are relative to: none (beside the file), one, or one for each.
  std::vector<std::string> images;
  std::vector<double> repeat;  ///< how often an epoch takes each of `train`; empty: once
  std::string split;           ///< of Karpathy's files
  std::string prompt;          ///< before every caption
  std::int64_t max_words = 30;
  std::int64_t text_length = 30;  ///< tokens, [CLS] and [SEP] among them
  bool pad_to_length = false;
  std::int64_t threads = 0;  ///< 0: one a core
  std::int64_t prefetch = 4;
  std::int64_t shuffle_buffer = 2000;
  std::int64_t samples_per_epoch = 0;
  double max_bad_share = 0.01;
};

/// Which part of every batch this process takes.
struct Share {
  std::int64_t rank = 0, ranks = 1;
  std::int64_t batch_size = 1;    ///< of one process in one pass
  std::int64_t accumulation = 1;  ///< passes that make a step

  std::int64_t step_size() const { return ranks * batch_size * accumulation; }
};

}  // namespace blip::train
