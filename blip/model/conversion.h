#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "blip/base/json.h"
#include "blip/base/precision.h"
#include "blip/checkpoint/checkpoint.h"

namespace blip {

/// Factors [in] that the inputs of a linear layer are multiplied by before they are quantised, by
/// the layer's name. See choose_smoothing().
using Smoothing = std::map<std::string, Weight>;

/// How a checkpoint is written in another precision.
struct ConversionOptions {
  Precision precision = Precision::f32;
  Smoothing smoothing;  ///< int8 alone; layers that it lacks are not smoothed
};

/// Throws Error{usage} where write_converted() has converted it already.
void check_original(const Checkpoint& checkpoint);

/// Writes `checkpoint` as a folder in the Hugging Face layout whose next start only maps it: the
/// matrices of linear layers in the precision, those for pictures in panels (see Parameters), word
/// embeddings in bf16 unless the precision is f32, all else unchanged. Its other small files are
/// copied. The folder appears whole or not at all.
/// Throws Error{usage} when `folder` exists and is not empty, and as check_original();
/// Error{bad_model, io}.
void write_converted(const Checkpoint& checkpoint, const ConversionOptions& options,
                     const std::filesystem::path& folder);

/// Adds a gate's figures to a converted folder's config.json, as "blip_precision". Throws as
/// read_json and write_file do.
void write_report(const Json& report, const std::filesystem::path& folder);

}  // namespace blip
