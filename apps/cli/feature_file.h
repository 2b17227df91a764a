#pragma once

#include <filesystem>
#include <vector>

#include "blip/base/json.h"

namespace blip::cli {

/// Vectors and what each of them is of.
struct FeatureTable {
  std::size_t width = 0;
  std::vector<float> values;    ///< [rows, width]
  Json rows = Json::array();    ///< one object for each, such as {"path": "a.png"}
  Json errors = Json::array();  ///< inputs that have no row, with their "error"
  std::string kind;             ///< "raw", "projected" or "normalised"
};

/// Throws Error{usage} for a name that ends in neither .npy nor .safetensors.
void check_feature_file(const std::filesystem::path& file);

/// .safetensors: a tensor "features" [rows, width], with "kind", "rows" and "errors" in its
/// metadata. .npy (version 1.0, f32): the same matrix; the rest in FILE.json beside it, which is
/// written first. Throws Error{io}.
void write_feature_file(const std::filesystem::path& file, const FeatureTable& table);

}  // namespace blip::cli
