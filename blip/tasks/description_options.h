#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "blip/generation/generation_config.h"

namespace blip {

enum class DescriptionRecipe { classic, faithful };

enum class DetailLevel { off, low, medium, high };

/// A number for each level of detail.
struct ByDetail {
  int high = 1;
  int medium = 1;
  int low = 1;
  int off = 1;

  int at(DetailLevel level) const {
    const int values[] = {off, low, medium, high};
    return values[static_cast<int>(level)];
  }
};

/// Prompts that run together, as one batch, and how.
struct PromptStage {
  std::vector<std::string> prompts;  ///< "{current}" in one stands for the text so far
  GenerationConfig generation;       ///< its seed is not read: DescriptionOptions has one
};

/// The recipe that captioning pages use: several prompts, the longest text, then rounds that ask
/// for more. Lengths of texts are in characters where they are compared, else in words.
struct ClassicOptions {
  PromptStage describe{{"a photography of", "a detailed photography of",
                        "a professional photography of", "a high resolution photography of"},
                       {.max_length = 150,
                        .num_beams = 8,
                        .do_sample = true,
                        .length_penalty = 3.0,
                        .temperature = 0.8,
                        .repetition_penalty = 1.8,
                        .no_repeat_ngram_size = 4}};
  PromptStage extend{{"Provide a comprehensive description of this image that shows {current}",
                      "Describe this image in detail, including {current}",
                      "Write a detailed paragraph about this image featuring {current}"},
                     {.max_length = 200,
                      .num_beams = 6,
                      .do_sample = true,
                      .length_penalty = 2.5,
                      .temperature = 0.9,
                      .repetition_penalty = 1.5,
                      .no_repeat_ngram_size = 3}};
  PromptStage refine{{"Add more specific visual details to this description: {current}"},
                     {.max_length = 250,
                      .num_beams = 7,
                      .do_sample = true,
                      .length_penalty = 2.0,
                      .temperature = 0.85,
                      .repetition_penalty = 1.6,
                      .no_repeat_ngram_size = 4}};

  /// Dropped from the start of a text, in this order, each at most once; so is what a prompt of
  /// above has before "{current}", where it is not among them.
  std::vector<std::string> leading_phrases = {
      "a photography of",
      "a detailed photography of",
      "a professional photography of",
      "a high resolution photography of",
      "a picture of",
      "an image of",
      "a photo of",
      "a close up of",
      "a view of",
      "a scene of",
      "provide a comprehensive description of this image that shows",
      "describe this image in detail, including",
      "write a detailed paragraph about this image featuring",
      "add more specific visual details to this description"};
  std::string leading_punctuation = ".,!?;-";  ///< dropped then, with spaces

  int keep_over_characters = 20;  ///< first texts longer than this are chosen from

  int word_list_under_words = 25;  ///< the longest of several first texts gets a list before it
  int word_list_over_letters = 3;  ///< made of words longer than this
  int word_list_over_words = 10;   ///< when there are more of them than this
  int word_list_words = 15;        ///< so many are listed

  int extend_under_words = 15;          ///< shorter texts are to be extended,
  int extend_prompts_under_words = 10;  ///< by prompts when they are shorter than this;
  int extend_over_words = 5;            ///< what is over so many words longer counts

  ByDetail rounds{3, 2, 1, 1};
  int refine_over_words = 8;  ///< a later round's text counts when over so many words longer

  /// New tokens that a prompt with the text so far leaves room for: the text is shortened to it.
  int least_new_tokens = 20;
};

/// The recipe that neither invents nor repeats: candidates of several prompts, by beams and by
/// samples, are judged; those that add something become sentences, the surest first.
struct FaithfulOptions {
  std::vector<std::string> prompts = {"", "a picture of", "a photo of", "there is"};
  GenerationConfig beams{.max_new_tokens = 40,
                         .num_beams = 5,
                         .num_return_sequences = 2,
                         .repetition_penalty = 1.2,
                         .no_repeat_ngram_size = 3};
  GenerationConfig samples{.max_new_tokens = 40,
                           .do_sample = true,
                           .num_return_sequences = 4,
                           .top_k = 0,
                           .top_p = 0.9,
                           .repetition_penalty = 1.2,
                           .no_repeat_ngram_size = 3};
  std::vector<std::string> leading_phrases = {"a picture of", "an image of", "a photo of",
                                              "a close up of"};
  std::string leading_punctuation = ".,!?;-";
  /// Words that checkpoints learnt from noise and that mean nothing: left out.
  std::vector<std::string> noise_words = {"arafed", "araffe", "araffed"};

  double least_share = 0.8;  ///< of the best one's confidence that a candidate needs
  /// Share of the content words of the shorter of two texts, from which on they say the same.
  double same_share = 0.5;
  ByDetail sentences{6, 4, 2, 1};  ///< at most
};

struct DescriptionOptions {
  DescriptionRecipe recipe = DescriptionRecipe::classic;
  DetailLevel detail = DetailLevel::high;
  bool multi_round = true;  ///< classic; off: one round, whatever the level of detail
  std::uint64_t seed = 0;   ///< each prompt draws from its own stream of it
  ClassicOptions classic;
  FaithfulOptions faithful;
};

/// Calls `visit(name, field)` for every option of a recipe: the one list that flags, JSON keys and
/// documentation come from.
template <class Options, class Visitor>
requires std::same_as<std::remove_const_t<Options>, ClassicOptions>
void for_each_field(Options& o, Visitor&& visit) {
  visit("describe", o.describe);
  visit("extend", o.extend);
  visit("refine", o.refine);
  visit("leading_phrases", o.leading_phrases);
  visit("leading_punctuation", o.leading_punctuation);
  visit("keep_over_characters", o.keep_over_characters);
  visit("word_list_under_words", o.word_list_under_words);
  visit("word_list_over_letters", o.word_list_over_letters);
  visit("word_list_over_words", o.word_list_over_words);
  visit("word_list_words", o.word_list_words);
  visit("extend_under_words", o.extend_under_words);
  visit("extend_prompts_under_words", o.extend_prompts_under_words);
  visit("extend_over_words", o.extend_over_words);
  visit("rounds", o.rounds);
  visit("refine_over_words", o.refine_over_words);
  visit("least_new_tokens", o.least_new_tokens);
}

template <class Options, class Visitor>
requires std::same_as<std::remove_const_t<Options>, FaithfulOptions>
void for_each_field(Options& o, Visitor&& visit) {
  visit("prompts", o.prompts);
  visit("beams", o.beams);
  visit("samples", o.samples);
  visit("leading_phrases", o.leading_phrases);
  visit("leading_punctuation", o.leading_punctuation);
  visit("noise_words", o.noise_words);
  visit("least_share", o.least_share);
  visit("same_share", o.same_share);
  visit("sentences", o.sentences);
}

}  // namespace blip
