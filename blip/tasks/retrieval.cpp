#include "blip/tasks/retrieval.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/image/image_processor.h"
#include "blip/index/checksum.h"
#include "blip/model/blip.h"
#include "blip/tasks/features.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) { value_ = checksum(bytes, value_); }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  void add(std::int64_t number) { add(std::as_bytes(std::span(&number, 1))); }
  std::string text() const { return to_hex(value_); }

 private:
  std::uint64_t value_ = 0;
};

/// All of a small tensor; the ends and the middle of another.
void add_sample(Fingerprint& fingerprint, std::span<const std::byte> bytes) {
  constexpr std::size_t kBlock = 4096;
  if (bytes.size() <= 3 * kBlock) return fingerprint.add(bytes);
  fingerprint.add(bytes.first(kBlock));
  fingerprint.add(bytes.subspan(bytes.size() / 2, kBlock));
  fingerprint.add(bytes.last(kBlock));
}

std::string vocabulary_fingerprint(const Tokenizer& tokenizer) {
  Fingerprint fingerprint;
  for (std::size_t id = 0; id < tokenizer.vocab_size(); ++id) {
    fingerprint.add(tokenizer.token(static_cast<int>(id)));
  }
  return fingerprint.text();
}

IndexSettings settings_of(const Engine& engine, IndexContent content) {
  engine.model().require_itc_heads();
  const BlipConfig& config = engine.model().config();
  IndexSettings settings;
  settings.content = content;
  settings.width = static_cast<std::size_t>(config.architecture == Architecture::dual_encoder
                                                ? config.projection_dim
                                                : config.image_text_hidden_size);
  settings.model = model_fingerprint(engine);
  return settings;
}

/// json[key] where it is of type T, as a file may say anything.
template <class T>
T value_or(const Json& json, const char* key, T otherwise) {
  if (!json.is_object() || !json.contains(key)) return otherwise;
  const Json& value = json.at(key);
  if constexpr (std::is_same_v<T, std::string>) {
    return value.is_string() ? value.get<std::string>() : otherwise;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value.is_boolean() ? value.get<bool>() : otherwise;
  } else {
    return value.is_number_integer() ? value.get<T>() : otherwise;
  }
}

bool is_better(const Found& a, const Found& b) {
  if (a.match.has_value() != b.match.has_value()) return a.match.has_value();
  return a.score > b.score;
}

void set_match(Found& found, const Match& match) {
  found.match = match;
  found.score = double{match.itm_logits[1]} + found.itc_similarity;
}

/// The judged ones by their scores, then the others; `k` of them.
std::vector<Found> best_of(std::vector<Found> found, std::size_t k) {
  std::stable_sort(found.begin(), found.end(), is_better);
  if (found.size() > k) found.erase(found.begin() + static_cast<std::ptrdiff_t>(k), found.end());
  return found;
}

}  // namespace

std::string model_fingerprint(const Engine& engine) {
  const Checkpoint& checkpoint = engine.checkpoint();
  const BlipConfig& config = checkpoint.config;
  Fingerprint fingerprint;
  fingerprint.add(name(config.architecture));
  // Heads and epsilons are not to be seen from the tensors.
  fingerprint.add(config.vision.num_attention_heads);
  fingerprint.add(config.text.num_attention_heads);
  fingerprint.add(std::as_bytes(std::span(&config.vision.layer_norm_eps, 1)));
  fingerprint.add(std::as_bytes(std::span(&config.text.layer_norm_eps, 1)));
  for (const auto& [tensor_name, tensor] : checkpoint.tensors.tensors()) {
    fingerprint.add(tensor_name);
    fingerprint.add(name(tensor.dtype));
    for (const std::int64_t size : tensor.shape) fingerprint.add(size);
    add_sample(fingerprint, tensor.bytes);
  }
  return fingerprint.text();
}

IndexSettings image_index_settings(const Engine& engine, const ImageOptions& options) {
  IndexSettings settings = settings_of(engine, IndexContent::images);
  const ImageProcessorConfig& config = engine.image_processor().config();
  settings.preprocessing = {{"height", config.height},
                            {"width", config.width},
                            {"rescale_factor", config.rescale_factor},
                            {"mean", config.mean},
                            {"std", config.std},
                            {"do_resize", config.do_resize},
                            {"do_rescale", config.do_rescale},
                            {"do_normalize", config.do_normalize},
                            {"alpha", options.alpha == AlphaMode::drop ? "drop" : "white"},
                            {"exif_orientation", options.exif_orientation}};
  return settings;
}

IndexSettings text_index_settings(const Engine& engine, int max_length) {
  IndexSettings settings = settings_of(engine, IndexContent::texts);
  settings.preprocessing = {{"max_length", max_length},
                            {"vocabulary", vocabulary_fingerprint(engine.tokenizer())}};
  return settings;
}

IndexEntry picture_entry(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    const ErrorCode code =
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
    throw Error(code, "cannot open " + file.string() + ": " + std::strerror(errno));
  }
  return {std::filesystem::absolute(file).lexically_normal().string(),
          static_cast<std::uint64_t>(status.st_size),
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

IndexEntry text_entry(const std::string& text) {
  return {text, text.size(), 0};
}

ImageOptions image_options_of(const IndexManifest& manifest) {
  const Json& preprocessing = manifest.settings.preprocessing;
  ImageOptions options;
  if (value_or<std::string>(preprocessing, "alpha", "") == "drop") options.alpha = AlphaMode::drop;
  options.exif_orientation = value_or(preprocessing, "exif_orientation", false);
  return options;
}

int max_length_of(const IndexManifest& manifest) {
  return value_or(manifest.settings.preprocessing, "max_length", 0);
}

ModelSource model_source_of(const IndexManifest& manifest) {
  const IndexSettings& settings = manifest.settings;
  ModelSource source;
  source.path = value_or<std::string>(settings.opened_with, "model", "");
  source.options.tokenizer = value_or<std::string>(settings.opened_with, "tokenizer", "");
  source.options.vision_heads = value_or(settings.opened_with, "vision_heads", 0);
  source.options.image_size = value_or(settings.opened_with, "image_size", 0);
  return source;
}

Json to_json(const ModelSource& source) {
  const auto absolute = [](const std::filesystem::path& path) {
    return path.empty() ? "" : std::filesystem::absolute(path).lexically_normal().string();
  };
  return {{"model", absolute(source.path)},
          {"tokenizer", absolute(source.options.tokenizer)},
          {"vision_heads", source.options.vision_heads},
          {"image_size", source.options.image_size}};
}

void require_made_with(const Engine& engine, const VectorIndex& index) {
  const IndexManifest& manifest = index.manifest();
  const bool texts = manifest.settings.content == IndexContent::texts;
  require_same(manifest.settings,
               texts ? text_index_settings(engine, max_length_of(manifest))
                     : image_index_settings(engine, image_options_of(manifest)),
               "the index " + index.folder().string());
}

Retriever::Retriever(Engine engine, VectorIndex index)
    : matcher_(std::move(engine)), index_(std::move(index)) {
  require_made_with(this->engine(), index_);
}

SearchResults Retriever::find(const std::string& text, const RetrievalOptions& options,
                              const Context& context) const {
  if (options.rerank > 0) require_judging(IndexContent::images);
  FeatureOptions feature_options;
  feature_options.max_length = options.max_length;
  const Features features =
      FeatureExtractor(engine()).text_features({&text, 1}, feature_options, context);
  std::vector<Found> found = nearest(features.values, options, context);
  judge_pictures(std::span(found).first(std::min(options.rerank, found.size())), text, options,
                 context);
  return {best_of(std::move(found), options.k), static_cast<bool>(features.truncated[0])};
}

SearchResults Retriever::find(const EncodedImage& image, const RetrievalOptions& options,
                              const Context& context) const {
  if (options.rerank > 0) require_judging(IndexContent::texts);
  const Features features =
      FeatureExtractor(engine()).image_features({&image, 1}, FeatureKind::normalised, context);
  std::vector<Found> found = nearest(features.values, options, context);
  judge_texts(std::span(found).first(std::min(options.rerank, found.size())), image, options,
              context);
  return {best_of(std::move(found), options.k), false};
}

std::vector<Found> Retriever::nearest(std::span<const float> query, const RetrievalOptions& options,
                                      const Context& context) const {
  const IndexSearch search{std::max(options.k, options.rerank), options.effort};
  const std::vector<std::vector<Neighbour>> neighbours = index_.search(query, search, context);
  std::vector<Found> found;
  for (const Neighbour& n : neighbours.front()) {
    Found& one = found.emplace_back();
    one.name = index_.rows().name(n.row);
    one.score = one.itc_similarity = double{n.similarity};
  }
  return found;
}

void Retriever::judge_pictures(std::span<Found> found, const std::string& text,
                               const RetrievalOptions& options, const Context& context) const {
  if (found.empty()) return;
  const std::vector<MatchText> ready =
      matcher_.encode({&text, 1}, {true, false, options.itm_token, options.max_length}, context);
  const ImageOptions image_options = image_options_of(index_.manifest());
  for (std::size_t i = 0; i < found.size(); ++i) {
    try {
      const Image image = load_image(found[i].name, image_options);
      const EncodedImage encoded = engine().encode({&image, 1}, context).front();
      set_match(found[i], matcher_.match(encoded, ready, context).front());
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      found[i].error = e;
    } catch (const std::bad_alloc&) {
      found[i].error = Error(ErrorCode::too_large, found[i].name + ": out of memory");
    }
    if (options.progress) options.progress(i + 1, found.size());
  }
}

void Retriever::judge_texts(std::span<Found> found, const EncodedImage& image,
                            const RetrievalOptions& options, const Context& context) const {
  if (found.empty()) return;
  std::vector<std::string> texts;
  for (const Found& one : found) texts.push_back(one.name);
  const std::vector<MatchText> ready =
      matcher_.encode(texts, {true, false, options.itm_token, options.max_length}, context);
  const std::vector<Match> matches = matcher_.match(image, ready, context);
  for (std::size_t i = 0; i < found.size(); ++i) set_match(found[i], matches[i]);
}

void Retriever::require_judging(IndexContent content) const {
  if (index_.manifest().settings.content != content) {
    throw Error(ErrorCode::usage,
                "re-ranking judges a picture and a text together, but the index " +
                    index_.folder().string() + " holds " +
                    std::string(name(index_.manifest().settings.content)) + " as the query is one");
  }
  engine().model().require_itm_head();
}

}  // namespace blip
