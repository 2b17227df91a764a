#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "blip/image/image_processor.h"
#include "blip/tokenizer/tokenizer.h"
#include "train/data/data_options.h"
#include "train/model/task.h"
#include "train/run/configuration.h"

namespace blip::train {

/// The model of a run with what stands around it.
struct Setup {
  std::shared_ptr<Task> task;
  std::shared_ptr<const Tokenizer> tokenizer;
  ImageProcessorConfig processor;
  TaskOptions options;
};

/// What a task learns from. Throws Error{usage} for another name than pretrain, caption, retrieval,
/// vqa, nlvr.
DataKind data_kind(const std::string& task);

/// Builds the model that the configuration describes, with the weights it names; `tell` gets a line
/// about each file that was loaded. `ranks` processes take part.
/// Throws Error{usage, not_found, io, bad_model, unsupported}.
Setup set_up(const std::string& task, const Configuration& configuration, std::int64_t ranks,
             const std::function<void(const std::string&)>& tell);

/// FOLDER/model (weights, tokenizer and image processor in the Hugging Face layout, which `blip`
/// loads at once) and FOLDER/authors (.pth), as `layouts` asks; each is there whole or as it was.
/// Throws Error{io}.
void save_model(const Setup& setup, const Texts& layouts, const std::filesystem::path& folder);

}  // namespace blip::train
