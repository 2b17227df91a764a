#pragma once

#include <span>
#include <string>
#include <string_view>

namespace blip {

/// An answer as the official VQA evaluation compares it: lower case, without punctuation and
/// articles, number words as digits, contractions with their apostrophe.
std::string normalize_answer(std::string_view answer);

/// How right an answer is, from 0 to 1, by the official rule (Antol et al. 2015, VQA 2.0's
/// evaluation code): for each of the ten people, the smaller of 1 and a third of the others who
/// gave this answer; the mean over the ten. Where all ten agree, answers are compared as they
/// stand. A question with one answer only, which the rule does not foresee, counts equality after
/// normalisation.
/// Throws Error{usage} when there is no answer to compare with.
double vqa_accuracy(std::string_view answer, std::span<const std::string> people);

}  // namespace blip
