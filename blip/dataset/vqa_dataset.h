#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip {

struct VqaQuestion {
  std::int64_t id = 0;
  std::string image;                 ///< relative to the pictures' folder; empty when unknown
  std::string text;                  ///< empty when only the answers were read
  std::vector<std::string> answers;  ///< of ten people in VQA 2.0; empty for a test set
  std::string answer_type;           ///< "yes/no", "number", "other", or empty
  std::string dataset;               ///< "vqa" or "vg" in the authors' files; else empty
};

/// Reads questions, answers or both, from one file or two that belong together: VQA 2.0's
/// {"data_subtype", "questions": [{"question_id", "image_id", "question"}]} and {"annotations":
/// [{"question_id", "answer_type", "answers": [{"answer"}]}]}, and the BLIP authors'
/// [{"question_id", "question", "image", "answer": [...]}];
/// and, in a file whose name ends in .jsonl, one object like the authors' a line, where
/// "question_id" may be missing: the line's number from 0 then, so that such a file must stand
/// alone. Questions stand in the order of the first file that names them. Throws Error{not_found};
/// Error{io} for files in none of these forms, and for a question that comes twice.
std::vector<VqaQuestion> read_vqa(std::span<const std::filesystem::path> files);

}  // namespace blip
