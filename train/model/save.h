#pragma once

#include <filesystem>

#include "train/model/model_task.h"

namespace blip::train {

/// FOLDER/model.safetensors in transformers' names and FOLDER/config.json, each whole or not at
/// all. Pre-trained ones open as both of its classes, BlipForConditionalGeneration and
/// BlipForImageTextRetrieval: what they share is there twice. Throws Error{io}.
void save_hugging_face(const ModelTask& task, const std::filesystem::path& folder);

/// FOLDER/model.pth in the authors' names, with momentum copies, queues and temperature, and
/// FOLDER/med_config.json. Throws Error{io}.
void save_authors(const ModelTask& task, const std::filesystem::path& folder);

}  // namespace blip::train
