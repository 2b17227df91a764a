#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace blip {

/// What the authors' code does to a text before the tokenizer sees it, in training and evaluation:
/// lower case, . ! " ( ) * # : ; ~ as spaces, runs of
/// white space as one space, at most `max_words` words. 30 for retrieval, 40 for NLVR2.
std::string clean_caption(std::string_view text, std::size_t max_words);

/// The same for questions, but the marks go without a space, and only spaces at the end go. 50
/// words.
std::string clean_question(std::string_view text, std::size_t max_words = 50);

}  // namespace blip
