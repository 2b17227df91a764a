#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/image/decode.h"
#include "blip/index/index.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/matching.h"

namespace blip {

/// Tells a model from others: by the sizes of its parts, and of every tensor the name, type, shape,
/// and three blocks of its bytes: its ends and its middle.
std::string model_fingerprint(const Engine& engine);

/// How an index of this engine's pictures or texts is described: its kind is left to the caller.
/// Throw Error{unsupported} when the checkpoint has no common space for pictures and texts.
IndexSettings image_index_settings(const Engine& engine, const ImageOptions& options);
/// `max_length`: tokens that longer texts are cut to; 0: as many as the model has positions for.
IndexSettings text_index_settings(const Engine& engine, int max_length);

/// What the entries of an index remember. Throws Error{not_found} or Error{io}.
IndexEntry picture_entry(const std::filesystem::path& file);
IndexEntry text_entry(const std::string& text);

/// How an index's pictures are decoded, and what its texts are cut to.
ImageOptions image_options_of(const IndexManifest& manifest);
int max_length_of(const IndexManifest& manifest);

/// A model to open: what an index remembers of it, so that a search needs no more than the index.
struct ModelSource {
  std::filesystem::path path;
  EngineOptions options;
};
ModelSource model_source_of(const IndexManifest& manifest);
/// For IndexSettings::opened_with.
Json to_json(const ModelSource& source);

/// Throws Error{usage} unless the index was made with this model and preprocessing,
/// Error{unsupported} when the checkpoint has no common space for pictures and texts.
void require_made_with(const Engine& engine, const VectorIndex& index);

struct RetrievalOptions {
  std::size_t k = 10;                      ///< results wanted
  std::size_t rerank = 0;                  ///< how many of the nearest ITM judges; 0: none
  std::size_t effort = 0;                  ///< see IndexSearch
  FirstToken itm_token = FirstToken::enc;  ///< see MatchOptions
  int max_length = 35;                     ///< of texts that are matched or searched with
  /// Told after each picture that was judged; may be empty.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

/// One result. The paper's score is ITM's logit of "match" plus ITC's similarity; those that ITM
/// did not judge have the similarity alone and come after those that it did.
struct Found {
  std::string name;  ///< path of a picture, or a text
  double score = 0;
  double itc_similarity = 0;
  std::optional<Match> match;  ///< ITM's part, when it judged
  std::optional<Error> error;  ///< why it could not: the picture's file is missing or damaged
};

/// What was found for one query.
struct SearchResults {
  std::vector<Found> found;  ///< best first
  bool truncated = false;    ///< the query was a text, and was cut
};

/// Search in two stages (paper section 5.1): all by ITC through an index, the nearest again by ITM.
/// Immutable; safe to share between threads.
class Retriever {
 public:
  /// Throws Error{usage} when the index was made with another model or preprocessing.
  Retriever(Engine engine, VectorIndex index);

  /// Pictures are judged from their files, which are read and encoded again.
  /// Throws Error{usage} for a text without words, or when pictures are to be judged by pictures or
  /// texts by texts; Error{unsupported} when the checkpoint has no ITM head; Error{cancelled}.
  SearchResults find(const std::string& text, const RetrievalOptions& options = {},
                     const Context& context = {}) const;
  SearchResults find(const EncodedImage& image, const RetrievalOptions& options = {},
                     const Context& context = {}) const;

  const Engine& engine() const { return matcher_.engine(); }
  const VectorIndex& index() const { return index_; }

 private:
  std::vector<Found> nearest(std::span<const float> query, const RetrievalOptions& options,
                             const Context& context) const;
  void judge_pictures(std::span<Found> found, const std::string& text,
                      const RetrievalOptions& options, const Context& context) const;
  void judge_texts(std::span<Found> found, const EncodedImage& image,
                   const RetrievalOptions& options, const Context& context) const;
  void require_judging(IndexContent content) const;

  Matcher matcher_;
  VectorIndex index_;
};

}  // namespace blip
