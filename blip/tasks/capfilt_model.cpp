#include <memory>
#include <utility>

#include "blip/checkpoint/checkpoint.h"
#include "blip/image/image_processor.h"
#include "blip/model/blip.h"
#include "blip/tasks/capfilt.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

std::vector<float> pixels_for(const Engine& engine, const Image& image) {
  const ImageProcessorConfig& config = engine.image_processor().config();
  std::vector<float> pixels(std::size_t{3} * static_cast<std::size_t>(config.height) *
                            static_cast<std::size_t>(config.width));
  engine.image_processor().process(image, pixels.data());
  return pixels;
}

/// Sets `image` of all pictures by an engine from their `pixels`.
void encode(std::span<CapFiltPicture* const> pictures, const Engine& engine,
            std::vector<float> CapFiltPicture::*pixels, EncodedImage CapFiltPicture::*image,
            const Context& context) {
  const ImageProcessorConfig& config = engine.image_processor().config();
  std::vector<std::span<const float>> values;
  for (const CapFiltPicture* picture : pictures) values.emplace_back(picture->*pixels);
  std::vector<EncodedImage> encoded =
      engine.encode_pixel_values(values, config.height, config.width, context);
  for (std::size_t i = 0; i < pictures.size(); ++i) pictures[i]->*image = std::move(encoded[i]);
}

/// The two engines, of which either may be absent.
struct Engines {
  std::optional<Captioner> captioner;
  std::optional<Matcher> filter;
  MatchOptions matching;
  std::string prompt;

  bool one() const {
    return captioner && filter && &captioner->engine().model() == &filter->engine().model();
  }

  /// Whether the filter looks at what was made for the captioner.
  bool same_pixels() const {
    return captioner && filter &&
           captioner->engine().image_processor().config() ==
               filter->engine().image_processor().config();
  }

  CapFiltPicture prepare(const Image& image) const {
    CapFiltPicture picture;
    if (captioner) picture.captioner_pixels = pixels_for(captioner->engine(), image);
    if (filter && !same_pixels()) picture.filter_pixels = pixels_for(filter->engine(), image);
    return picture;
  }

  void encode(std::span<CapFiltPicture* const> pictures, const Context& context) const {
    using P = CapFiltPicture;
    if (captioner) {
      blip::encode(pictures, captioner->engine(), &P::captioner_pixels, &P::captioner_image,
                   context);
    }
    if (filter && !one()) {
      const auto pixels = same_pixels() ? &P::captioner_pixels : &P::filter_pixels;
      blip::encode(pictures, filter->engine(), pixels, &P::filter_image, context);
    }
    for (CapFiltPicture* picture : pictures) {
      if (one()) picture->filter_image = picture->captioner_image;
      picture->captioner_pixels = picture->filter_pixels = {};
    }
  }

  std::vector<std::vector<std::string>> write(std::span<const CapFiltPicture* const> pictures,
                                              std::span<const CaptionOptions> options,
                                              const Context& context) const {
    std::vector<CaptionRequest> requests;
    for (const CapFiltPicture* picture : pictures)
      requests.push_back({picture->captioner_image, prompt});
    std::vector<std::vector<std::string>> texts;
    for (const std::vector<Caption>& captions : captioner->caption(requests, options, context)) {
      std::vector<std::string>& of_picture = texts.emplace_back();
      for (const Caption& caption : captions) of_picture.push_back(caption.text);
    }
    return texts;
  }

  std::vector<CapFiltScores> judge(const CapFiltPicture& picture,
                                   std::span<const std::string> texts,
                                   const Context& context) const {
    const std::vector<MatchText> encoded = filter->encode(texts, matching, context);
    const std::vector<Match> matches = filter->match(picture.filter_image, encoded, context);
    std::vector<CapFiltScores> scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (matching.itm) scores[i].itm = matches[i].itm_probability;
      if (matching.itc) scores[i].itc = matches[i].itc_similarity;
      scores[i].truncated = encoded[i].truncated;
    }
    return scores;
  }

  /// Texts are as words of the filter where there is one, else of the captioner.
  bool has_words(const std::string& text) const {
    const Engine& engine = filter ? filter->engine() : captioner->engine();
    return !engine.tokenizer().encode_plain(text).empty();
  }
};

}  // namespace

std::string capfilt_prompt(const Engine& captioner) {
  const bool authors = captioner.checkpoint().family == CheckpointFamily::authors;
  return std::string(authors ? kPaperPrompt : "");
}

CapFiltModel capfilt_model(const std::optional<Engine>& captioner,
                           const std::optional<Engine>& filter, const CapFiltOptions& options) {
  const auto engines = std::make_shared<Engines>();
  engines->matching = options.matching;
  engines->prompt = options.prompt;
  if (captioner) {
    engines->captioner.emplace(*captioner);
    engines->captioner->validate(options.prompt, options.writing);
  }
  if (filter) {
    engines->filter.emplace(*filter);
    if (options.matching.itm) filter->model().require_itm_head();
    if (options.matching.itc) filter->model().require_itc_heads();
  }
  CapFiltModel model;
  model.prepare = [engines](const Image& image) { return engines->prepare(image); };
  model.encode = [engines](auto pictures, const Context& context) {
    engines->encode(pictures, context);
  };
  model.write = [engines](auto pictures, auto wanted, const Context& context) {
    return engines->write(pictures, wanted, context);
  };
  model.judge = [engines](const CapFiltPicture& picture, auto texts, const Context& context) {
    return engines->judge(picture, texts, context);
  };
  model.has_words = [engines](const std::string& text) { return engines->has_words(text); };
  return model;
}

}  // namespace blip
