#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip {

/// What a model said, in the form that the official evaluations take.
struct CaptionResult {
  std::int64_t image_id = 0;
  std::string caption;
};

struct VqaResult {
  std::int64_t question_id = 0;
  std::string answer;
};

struct NlvrResult {
  std::string identifier;
  bool label = false;
};

/// COCO's [{"image_id", "caption"}]. These throw Error{not_found}; Error{io} for another form and
/// for an id that comes twice.
std::vector<CaptionResult> read_caption_results(const std::filesystem::path& file);
/// VQA's [{"question_id", "answer"}].
std::vector<VqaResult> read_vqa_results(const std::filesystem::path& file);
/// NLVR2's lines of "identifier,True" or "identifier,False".
std::vector<NlvrResult> read_nlvr_results(const std::filesystem::path& file);

/// Write the same, whole or not at all; JSON byte for byte as Python's json.dump writes it.
/// Throw Error{io}.
void write_results(const std::filesystem::path& file, std::span<const CaptionResult> results);
void write_results(const std::filesystem::path& file, std::span<const VqaResult> results);
void write_results(const std::filesystem::path& file, std::span<const NlvrResult> results);

}  // namespace blip
