// Retrieval and classification with the tiny checkpoint of the golden data.
#include "blip/tasks/retrieval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "blip/base/error.h"
#include "blip/index/writer.h"
#include "blip/tasks/classification.h"
#include "blip/tasks/features.h"

namespace blip {
namespace {

const std::filesystem::path kGolden = BLIP_SOURCE_DIR "/tests/golden/data";
const char* const kPictures[] = {
    "png_rgb_384", "png_rgb_photo", "jpg_photo_astronaut",        "jpg_photo_rocket_422",
    "png_la",      "bmp_rgb",       "jpg_photo_hubble_optimized", "png_palette4"};

EngineOptions options_for(int image_size = 0) {
  EngineOptions options;
  options.tokenizer = kGolden / "tokenizer_hf";
  options.image_size = image_size;
  return options;
}

const Engine& engine() {
  static const Engine loaded = Engine::load(kGolden / "C_hf/retrieval", options_for());
  return loaded;
}

std::filesystem::path picture(const std::string& name) {
  for (const char* file : {"input.png", "input.jpg", "input.bmp"}) {
    const auto path = kGolden / "B_image" / name / file;
    if (std::filesystem::exists(path)) return path;
  }
  return kGolden / "B_image" / name / "missing";
}

EncodedImage encode(const std::filesystem::path& path, const ImageOptions& options = {}) {
  const Image image = load_image(path, options);
  return engine().encode({&image, 1}).front();
}

class Retrieval : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "blip-find-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  VectorIndex index_of_pictures(const ImageOptions& options = {}) {
    IndexWriter writer =
        IndexWriter::create(folder_ / "images", image_index_settings(engine(), options));
    const FeatureExtractor extractor(engine());
    for (const char* name : kPictures) {
      const auto copy = folder_ / (std::string(name) + picture(name).extension().string());
      std::filesystem::copy_file(picture(name), copy,
                                 std::filesystem::copy_options::overwrite_existing);
      const EncodedImage image = encode(copy, options);
      writer.append(picture_entry(copy),
                    extractor.image_features({&image, 1}, FeatureKind::normalised).values);
    }
    writer.commit();
    return VectorIndex::open(folder_ / "images");
  }

  VectorIndex index_of_texts(const std::vector<std::string>& texts) {
    IndexWriter writer = IndexWriter::create(folder_ / "texts", text_index_settings(engine(), 35));
    FeatureOptions options;
    options.max_length = 35;
    const Features features = FeatureExtractor(engine()).text_features(texts, options);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      writer.append(text_entry(texts[i]),
                    std::span(features.values).subspan(i * features.width, features.width));
    }
    writer.commit();
    return VectorIndex::open(folder_ / "texts");
  }

  std::filesystem::path folder_;
};

const std::vector<std::string> kSentences = {"a woman and a cup of coffee", "a cat",
                                             "a rocket launch at night over the sea.",
                                             "an astronaut in front of the flag", "Isn't it?"};

/// The definition of both stages: every picture with the text.
std::vector<std::pair<double, std::string>> by_definition(const std::filesystem::path& folder,
                                                          const std::string& text, bool itm) {
  const Matcher matcher(engine());
  const auto ready = matcher.encode({&text, 1});
  std::vector<std::pair<double, std::string>> scored;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (!file.is_regular_file()) continue;
    const Match match = matcher.match(encode(file), ready).front();
    scored.emplace_back(match.itc_similarity + (itm ? double{match.itm_logits[1]} : 0.0),
                        file.path().string());
  }
  std::sort(scored.rbegin(), scored.rend());
  return scored;
}

TEST_F(Retrieval, TextToImageInBothStages) {
  const Retriever retriever(engine(), index_of_pictures());
  for (const std::string& text : kSentences) {
    for (const std::size_t rerank : {0, 8}) {
      RetrievalOptions options;
      options.k = 5;
      options.rerank = rerank;
      const std::vector<Found> found = retriever.find(text, options).found;
      const auto wanted = by_definition(folder_, text, rerank > 0);
      ASSERT_EQ(found.size(), 5u);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(found[i].score, wanted[i].first, 1e-4);
        EXPECT_EQ(found[i].name, wanted[i].second);
        EXPECT_EQ(found[i].match.has_value(), rerank > 0);
      }
    }
  }
}

TEST_F(Retrieval, ThoseThatAreNotJudgedComeAfterThoseThatAre) {
  const Retriever retriever(engine(), index_of_pictures());
  RetrievalOptions options;
  options.k = 8;
  options.rerank = 3;
  std::size_t told = 0;
  options.progress = [&](std::size_t done, std::size_t total) {
    EXPECT_EQ(total, 3u);
    EXPECT_EQ(done, ++told);
  };
  const std::vector<Found> found = retriever.find(kSentences[0], options).found;
  ASSERT_EQ(found.size(), 8u);
  EXPECT_EQ(told, 3u);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(found[i].match.has_value(), i < 3);
  for (std::size_t i = 4; i < 8; ++i) EXPECT_GE(found[i - 1].score, found[i].score);
  EXPECT_GE(found[2].itc_similarity, found[3].itc_similarity) << "the nearest are judged";
}

TEST_F(Retrieval, AMissingPictureIsReportedNotFatal) {
  const Retriever retriever(engine(), index_of_pictures());
  RetrievalOptions options;
  options.k = options.rerank = 8;
  std::filesystem::remove(folder_ / "bmp_rgb.bmp");
  const std::vector<Found> found = retriever.find(kSentences[1], options).found;
  ASSERT_EQ(found.size(), 8u);
  ASSERT_TRUE(found.back().error.has_value());
  EXPECT_EQ(found.back().error->code(), ErrorCode::not_found);
  EXPECT_EQ(found.back().name, (folder_ / "bmp_rgb.bmp").string());
  EXPECT_EQ(std::count_if(found.begin(), found.end(), [](const Found& f) { return !f.error; }), 7);
}

TEST_F(Retrieval, ImageToImageFindsItself) {
  const Retriever retriever(engine(), index_of_pictures());
  for (const char* name : {"png_rgb_photo", "bmp_rgb"}) {
    const std::vector<Found> found = retriever.find(encode(picture(name)), {.k = 1}).found;
    EXPECT_EQ(std::filesystem::path(found[0].name).stem(), name);
    EXPECT_NEAR(found[0].score, 1, 1e-5);
  }
}

TEST_F(Retrieval, ImageToTextInBothStages) {
  const Retriever retriever(engine(), index_of_texts(kSentences));
  const EncodedImage image = encode(picture("jpg_photo_astronaut"));
  const Matcher matcher(engine());
  const auto matches = matcher.match(image, matcher.encode(kSentences));
  for (const std::size_t rerank : {0, 5}) {
    RetrievalOptions options;
    options.rerank = rerank;
    const std::vector<Found> found = retriever.find(image, options).found;
    ASSERT_EQ(found.size(), kSentences.size());
    for (const Found& one : found) {
      const auto i = static_cast<std::size_t>(
          std::find(kSentences.begin(), kSentences.end(), one.name) - kSentences.begin());
      const double itm = rerank > 0 ? double{matches[i].itm_logits[1]} : 0;
      EXPECT_NEAR(one.score, matches[i].itc_similarity + itm, 1e-4);
    }
    EXPECT_TRUE(std::is_sorted(found.begin(), found.end(),
                               [](const Found& a, const Found& b) { return a.score > b.score; }));
  }
}

TEST_F(Retrieval, RefusesAnotherModelAndPreprocessing) {
  const std::filesystem::path path = index_of_pictures().folder();
  const auto refuses = [&](const Engine& other, const std::string& words) {
    try {
      const Retriever retriever(other, VectorIndex::open(path));
      ADD_FAILURE() << words;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  };
  refuses(Engine::load(kGolden / "C_hf/retrieval", options_for(64)), "another preprocessing");
  refuses(Engine::load(kGolden / "C_hf/clipstyle", options_for()), "another model");
  EXPECT_THROW(image_index_settings(Engine::load(kGolden / "C_hf/caption", options_for()), {}),
               Error);
}

TEST_F(Retrieval, RefusesToJudgeLikeByLike) {
  const Retriever pictures(engine(), index_of_pictures());
  const Retriever texts(engine(), index_of_texts(kSentences));
  RetrievalOptions options;
  options.rerank = 2;
  EXPECT_THROW(pictures.find(encode(picture("bmp_rgb")), options), Error);
  EXPECT_THROW(texts.find(kSentences[0], options), Error);
  EXPECT_EQ(texts.find(kSentences[3], {.k = 1}).found[0].name, kSentences[3]);
  EXPECT_THROW(pictures.find("", {.k = 1}), Error);
}

TEST_F(Retrieval, LongTextsAreCutAndMarked) {
  const Retriever retriever(engine(), index_of_pictures());
  std::string text = kSentences[0];
  EXPECT_FALSE(retriever.find(text).truncated);
  for (int i = 0; i < 10000; ++i) text += " and a cat";
  RetrievalOptions options;
  options.rerank = 2;
  EXPECT_TRUE(retriever.find(text, options).truncated);
}

TEST_F(Retrieval, AnIndexRemembersHowPicturesAreDecodedAndTheModelIsOpened) {
  ImageOptions options;
  options.alpha = AlphaMode::drop;
  options.exif_orientation = true;
  const Retriever retriever(engine(), index_of_pictures(options));  // not refused: its own
  EXPECT_EQ(image_options_of(retriever.index().manifest()).alpha, AlphaMode::drop);
  EXPECT_TRUE(image_options_of(retriever.index().manifest()).exif_orientation);

  IndexManifest manifest;
  ModelSource source{"some/model", options_for(64)};
  source.options.vision_heads = 4;
  manifest.settings.opened_with = to_json(source);
  const ModelSource got = model_source_of(manifest);
  EXPECT_EQ(got.path, std::filesystem::absolute("some/model"));
  EXPECT_EQ(got.options.vision_heads, 4);
  EXPECT_EQ(got.options.image_size, 64);
  for (const Json& hostile : {Json(), Json(3), Json({{"model", 3}, {"vision_heads", "x"}})}) {
    manifest.settings.opened_with = manifest.settings.preprocessing = hostile;
    EXPECT_TRUE(model_source_of(manifest).path.empty());
    EXPECT_EQ(image_options_of(manifest).alpha, AlphaMode::white);
    EXPECT_EQ(max_length_of(manifest), 0);
  }
}

TEST(Classifier, EqualsTheSoftmaxOfSimilarities) {
  const std::vector<std::string> labels = {"cat", "rocket", "woman"};
  const EncodedImage image = encode(picture("png_rgb_photo"));
  ClassificationOptions options;
  options.temperature = 0.5;
  const auto scores = Classifier(engine(), labels, options).classify(image);
  ASSERT_EQ(scores.size(), 3u);
  const Matcher matcher(engine());
  double sum = 0;
  for (const LabelScore& one : scores) {
    const std::string text = "a photo of a " + labels[one.label];
    const Match match = matcher.match(image, matcher.encode({&text, 1})).front();
    EXPECT_NEAR(one.score, match.itc_similarity, 1e-5);
    sum += one.probability;
  }
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_NEAR(scores[0].probability / scores[1].probability,
              std::exp((scores[0].score - scores[1].score) / 0.5), 1e-6);
}

TEST(Classifier, AveragesTemplatesByItcAndItm) {
  const std::vector<std::string> labels = {"cat", "rocket"};
  const EncodedImage image = encode(picture("png_rgb_photo"));
  ClassificationOptions options;
  options.templates = {"a {}", "{} and {}"};
  const std::vector<std::string> texts = {"a cat", "cat and cat"};
  const Matcher matcher(engine());
  const auto ready = matcher.encode(texts);
  const auto matches = matcher.match(image, ready);

  const auto itc = Classifier(engine(), labels, options).classify(image);
  std::vector<float> mean(ready[0].text_feat.size());
  for (std::size_t i = 0; i < mean.size(); ++i) {
    mean[i] = ready[0].text_feat[i] + ready[1].text_feat[i];
  }
  const double length = std::sqrt(std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0));
  const double wanted_itc = (matches[0].itc_similarity + matches[1].itc_similarity) / length;
  options.itm = true;
  const auto itm = Classifier(engine(), labels, options).classify(image);
  double wanted_itm = 0;
  for (const Match& match : matches) {
    wanted_itm += (double{match.itm_logits[1]} - double{match.itm_logits[0]}) / 2;
  }
  const auto score_of_cat = [](const std::vector<LabelScore>& scores) {
    return scores[scores[0].label == 0 ? 0 : 1].score;
  };
  EXPECT_NEAR(score_of_cat(itc), wanted_itc, 1e-5);
  EXPECT_NEAR(score_of_cat(itm), wanted_itm, 1e-5);
}

TEST(Classifier, TakesTheCheckpointsTemperature) {
  const Engine dual = Engine::load(kGolden / "C_hf/clipstyle", options_for());
  const std::vector<std::string> labels = {"cat", "rocket"};
  const Image picture_image = load_image(picture("bmp_rgb"));
  const EncodedImage image = dual.encode({&picture_image, 1}).front();
  const auto scores = Classifier(dual, labels).classify(image);
  const double by_scale =
      std::log(scores[0].probability / scores[1].probability) / (scores[0].score - scores[1].score);
  EXPECT_NEAR(by_scale, std::exp(2.6592), 0.05);  // logit_scale_init_value
}

TEST(Classifier, RefusesWhatCannotBeAsked) {
  const std::vector<std::string> labels = {"cat"};
  const auto refuses = [](const std::vector<std::string>& some, ClassificationOptions options) {
    EXPECT_THROW(Classifier(engine(), some, options), Error);
  };
  refuses({}, {});
  refuses({"cat", " "}, {});
  refuses(labels, {.templates = {}});
  refuses(labels, {.templates = {"a photo"}});
  refuses(labels, {.temperature = -1});
  EXPECT_EQ(Classifier(engine(), labels).classify(encode(picture("bmp_rgb")))[0].probability, 1);
}

}  // namespace
}  // namespace blip
