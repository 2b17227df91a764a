#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blip/base/json.h"
#include "blip/base/tensor.h"
#include "blip/checkpoint/tensor_store.h"

namespace blip::golden {

/// The directory whose cases run: BLIP_GOLDEN_DIR, or the project's own copy.
const std::filesystem::path& root();

/// A file that a case refers to by a path relative to the root: there, or else in the project's own
/// copy (a directory may hold only some of the groups). Throws when it is in neither.
std::filesystem::path resolve(const std::filesystem::path& relative);

/// Registers a test "<group>.<name>". Throwing fails it.
void add_test(const std::string& group, const std::string& name, std::function<void()> body);

/// Runs `add`, which adds the tests of `name`; when it throws, adds one that fails with the reason:
/// an unreadable file fails alone.
void add_tests_or_failure(const std::string& group, const std::string& name,
                          const std::function<void()>& add);

/// Each finds the cases of its group below `root` and registers them.
void register_tokenizer();    // A
void register_images();       // B
void register_forward();      // C: transformers' checkpoints
void register_generation();   // D
void register_authors();      // E: the original code's checkpoints
void register_real_shapes();  // F

/// Directories directly below root()/group that hold a manifest.json.
std::vector<std::filesystem::path> case_folders(const std::string& group);

/// A .safetensors file of inputs or expected values.
class Tensors {
 public:
  explicit Tensors(const std::filesystem::path& file);

  bool contains(const std::string& name) const { return store_.contains(name); }
  std::vector<std::string> names() const;
  const Shape& shape(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  std::vector<int> ints(const std::string& name) const;

 private:
  TensorStore store_;
};

struct Tolerance {
  double absolute;
  double relative;
};

/// Hidden states and logits of groups C and E.
inline constexpr Tolerance kHiddenStates{2e-4, 2e-4};

/// Fails, naming `what` and the worst element, when an element differs by more than
/// absolute + relative * |wanted|. -inf equals -inf.
void expect_close(std::span<const float> got, std::span<const float> wanted, Tolerance tolerance,
                  const std::string& what);

/// json[key], or `otherwise` when there is no such key. Throws for a value of another type.
template <class T>
T value_or(const Json& json, const char* key, T otherwise) {
  return json.contains(key) ? json.at(key).get<T>() : otherwise;
}

/// sha256 of the bytes, in hexadecimal.
std::string sha256(std::span<const std::byte> bytes);

/// A row of ids of a padded batch, cut to its attention mask. Throws when they differ in length.
std::vector<int> unpadded(std::span<const int> ids, std::span<const int> mask);

}  // namespace blip::golden
