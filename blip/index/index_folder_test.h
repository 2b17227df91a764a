#pragma once

// For the tests of this room.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numbers>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/index/manifest.h"
#include "blip/index/rows.h"
#include "blip/index/scan.h"

namespace blip {

/// A folder for one test, removed with what it holds at the end.
class IndexFolder {
 public:
  IndexFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "blip-index-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~IndexFolder() { std::filesystem::remove_all(path_); }
  IndexFolder(const IndexFolder&) = delete;
  IndexFolder& operator=(const IndexFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Vectors of length 1 in directions that are equally likely.
inline std::vector<float> unit_vectors(std::size_t count, std::size_t width, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count * width);
  for (std::size_t row = 0; row < count; ++row) {
    double square = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const double radius = std::sqrt(-2 * std::log(1.0 - random.uniform()));
      const double value = radius * std::cos(2 * std::numbers::pi * random.uniform());
      values[row * width + i] = static_cast<float>(value);
      square += value * value;
    }
    const auto scale = static_cast<float>(1 / std::sqrt(square));
    for (std::size_t i = 0; i < width; ++i) values[row * width + i] *= scale;
  }
  return values;
}

inline VectorView view(const std::vector<float>& values, std::size_t width) {
  return {values.data(), values.size() / width, width};
}

/// The definition: every product, sorted.
inline std::vector<Neighbour> naive_search(const VectorView& vectors, const float* query,
                                           std::size_t k) {
  std::vector<Neighbour> all;
  for (std::uint32_t row = 0; row < vectors.count; ++row) {
    double sum = 0;
    for (std::size_t i = 0; i < vectors.width; ++i) {
      sum += double{query[i]} * double{vectors[row][i]};
    }
    all.push_back({row, static_cast<float>(sum)});
  }
  std::sort(all.begin(), all.end(), is_nearer);
  all.resize(std::min(k, all.size()));
  return all;
}

inline IndexSettings settings_for(IndexKind kind, std::size_t width) {
  return {kind, IndexContent::images, width, "0123456789abcdef", {{"height", 384}}};
}

/// The code of the Error that `f` throws; its message holds `words`.
template <class Function>
ErrorCode code_of(Function f, const std::string& words = "") {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

}  // namespace blip
