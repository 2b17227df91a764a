#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"
#include "blip/model/pattern_test.h"
#include "blip/model/position_interpolation.h"
#include "blip/ops/isa.h"

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

// The whole program's. Inlined into what calls it, GCC 12 takes free() to be another's.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  return memory != nullptr ? memory : throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace blip {
namespace {

const Checkpoint& checkpoint() {
  static const Checkpoint opened = open_checkpoint(BLIP_SOURCE_DIR "/models/default");
  return opened;
}

const BlipModel& model() {
  static const BlipModel built(checkpoint().config, checkpoint().tensors);
  return built;
}

Tensor encode(int side, const Context& context = {}) {
  const VisionEncoder& vision = model().vision();
  Tensor embeds({vision.num_tokens(side, side), vision.config().hidden_size});
  vision.forward(pattern(side), side, side, embeds.span(), context);
  return embeds;
}

CrossKeysValues keys_values_of(const Tensor& embeds) {
  return model().text_decoder().attend_to(embeds.span(), static_cast<std::size_t>(embeds.dim(0)),
                                          {});
}

TEST(KeyValueCache, BeamsShareTheirPastAndFreeIt) {
  KeyValueCache cache(2, 4);
  const KeyValueCache::Row start[] = {{-1, 3}};
  cache.advance(start);
  ASSERT_EQ(cache.slots(0).size(), 3u);
  cache.key(1, cache.slots(0)[2])[3] = 7.0f;
  const std::size_t capacity = cache.capacity();

  const KeyValueCache::Row fork[] = {{0, 1}, {0, 1}};
  cache.advance(fork);
  EXPECT_EQ(cache.slots(0)[2], cache.slots(1)[2]) << "the past was copied";
  EXPECT_NE(cache.slots(0)[3], cache.slots(1)[3]) << "two new tokens in one slot";
  EXPECT_EQ(cache.key(1, cache.slots(1)[2])[3], 7.0f);

  for (int step = 0; step < 1000; ++step) {
    const KeyValueCache::Row same[] = {{1, 1}, {1, 0}};
    const KeyValueCache::Row back[] = {{1, 1}, {1, 0}};
    cache.advance(step % 2 == 0 ? std::span(same) : std::span(back));
  }
  EXPECT_EQ(cache.capacity(), capacity) << "slots of dropped beams were not used again";
}

TEST(PositionInterpolation, SameSizeIsTheIdentity) {
  const std::vector<float> grid = {1, 2, 3, 4, 5, 6};
  const std::vector<float> out = interpolate_bicubic(grid, 1, {2, 3}, {2, 3});
  for (std::size_t i = 0; i < grid.size(); ++i) EXPECT_NEAR(out[i], grid[i], 1e-6f);
}

TEST(PositionInterpolation, KeepsConstants) {
  const std::vector<float> grid(9 * 2, 3.5f);
  for (const float v : interpolate_bicubic(grid, 2, {3, 3}, {7, 5})) EXPECT_NEAR(v, 3.5f, 1e-5f);
}

TEST(VisionEncoder, EveryInstructionSetAgreesWithTheReference) {
  force_isa(Isa::reference);
  const Tensor wanted = encode(64);
  for (const Isa isa : supported_isas()) {
    force_isa(isa);
    const Tensor got = encode(64);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got.data()[i], wanted.data()[i], 2e-4) << name(isa);
  }
  force_isa(supported_isas().back());
}

TEST(VisionEncoder, PicturesTogetherHaveTheBitsOfEachAlone) {
  constexpr int kSide = 64;
  constexpr std::size_t kPictures = 20;  // 18 and 2
  std::vector<std::vector<float>> pictures(kPictures, pattern(kSide));
  for (std::size_t i = 0; i < kPictures; ++i) pictures[i][i * 100] = 2;
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
    const BlipModel built(checkpoint().config, Parameters(checkpoint().tensors, precision));
    const VisionEncoder& vision = built.vision();
    const Shape shape{vision.num_tokens(kSide, kSide), vision.config().hidden_size};
    for (const Isa isa : supported_isas()) {
      if (isa == Isa::reference) continue;  // slow, and takes one at a time
      force_isa(isa);
      std::vector<Tensor> together;
      std::vector<std::span<const float>> from;
      std::vector<float*> to;
      for (const auto& picture : pictures) {
        from.emplace_back(picture);
        to.push_back(together.emplace_back(shape).data());
      }
      vision.forward(from, kSide, kSide, to, {});
      for (std::size_t i = 0; i < kPictures; ++i) {
        Tensor alone(shape);
        vision.forward(pictures[i], kSide, kSide, alone.span(), {});
        ASSERT_TRUE(std::ranges::equal(alone.span(), together[i].span()))
            << name(isa) << " " << name(precision) << " " << i;
      }
    }
  }
  force_isa(supported_isas().back());
}

TEST(VisionEncoder, OtherSizesInterpolateAndOddOnesAreRefused) {
  EXPECT_EQ(encode(96).dim(0), 1 + 12 * 12);
  Tensor embeds({100, 160});
  EXPECT_THROW(model().vision().forward(pattern(60), 60, 60, embeds.span(), {}), Error);
}

TEST(VisionEncoder, StopsOnRequest) {
  const std::atomic<bool> stop = true;
  try {
    encode(64, {.stop = &stop});
    FAIL() << "ran to its end";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::cancelled);
  }
}

TEST(TextDecoder, TokenByTokenEqualsAllAtOnce) {
  const TextDecoder& decoder = model().text_decoder();
  const Tensor embeds = encode(64);
  const CrossKeysValues image = keys_values_of(embeds);
  const std::vector<int> ids = {263, 28, 150, 58, 220, 84};
  const auto vocab = static_cast<std::size_t>(decoder.config().vocab_size);

  std::vector<float> at_once(ids.size() * vocab), step(vocab);
  DecoderState whole(decoder.config()), steps(decoder.config());
  const DecoderRow all{-1, ids, &image};
  decoder.step_all_logits(whole, {&all, 1}, at_once, {});
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const DecoderRow row{t == 0 ? -1 : 0, std::span(ids).subspan(t, 1), &image};
    decoder.step(steps, {&row, 1}, step, {});
    for (std::size_t i = 0; i < vocab; ++i)
      ASSERT_EQ(step[i], at_once[t * vocab + i]) << "token " << t;
  }
}

TEST(TextDecoder, StepsOfBeamsAllocateNothingWhereTheMemoryIsThere) {
  const TextDecoder& decoder = model().text_decoder();
  const Tensor embeds = encode(64);
  const CrossKeysValues image = keys_values_of(embeds);
  std::vector<float> logits(3 * static_cast<std::size_t>(decoder.config().vocab_size));
  DecoderState state(decoder.config());
  const auto write = [&](int tokens) {
    const int ids[] = {28, 150, 58};
    for (int t = 0; t < tokens; ++t) {
      DecoderRow rows[3];
      for (int beam = 0; beam < 3; ++beam) {
        const int parent =
            t == 0 ? -1 : (beam + t) % 3 / 2 * 2;  // one is dropped, one continued twice
        rows[beam] = {parent, std::span(ids).subspan(static_cast<std::size_t>(beam), 1), &image};
      }
      decoder.step(state, rows, logits, {});
    }
  };
  write(40);
  const std::size_t before = allocations;
  write(40);
  EXPECT_EQ(allocations, before);
}

TEST(TextDecoder, RowsOfUnequalLengthDoNotInfluenceEachOther) {
  const TextDecoder& decoder = model().text_decoder();
  const Tensor first = encode(64), second = encode(96);
  const CrossKeysValues images[] = {keys_values_of(first), keys_values_of(second)};
  const std::vector<int> texts[] = {{263}, {263, 28, 150, 58, 220}, {263, 91}};
  const auto vocab = static_cast<std::size_t>(decoder.config().vocab_size);
  std::vector<DecoderRow> rows;
  for (std::size_t i = 0; i < 3; ++i) rows.push_back({-1, texts[i], &images[i % 2]});
  std::vector<float> together(3 * vocab), alone(vocab);
  DecoderState state(decoder.config());
  decoder.step(state, rows, together, {});
  for (std::size_t i = 0; i < 3; ++i) {
    DecoderState own(decoder.config());
    decoder.step(own, {&rows[i], 1}, alone, {});
    for (std::size_t k = 0; k < vocab; ++k) ASSERT_EQ(alone[k], together[i * vocab + k]);
  }
}

TEST(TextDecoder, RefusesTextBeyondItsPositionsAndIdsBeyondItsVocabulary) {
  const TextDecoder& decoder = model().text_decoder();
  const Tensor embeds = encode(64);
  const CrossKeysValues image = keys_values_of(embeds);
  std::vector<float> logits(static_cast<std::size_t>(decoder.config().vocab_size));
  const std::vector<int> too_long(65, 28), unknown = {28, decoder.config().vocab_size};
  const std::vector<int> negative = {-1};
  for (const std::vector<int>* ids : {&too_long, &unknown, &negative}) {
    DecoderState state(decoder.config());
    const DecoderRow row{-1, *ids, &image};
    EXPECT_THROW(decoder.step(state, {&row, 1}, logits, {}), Error);
  }
}

TEST(BlipModel, NamesAMissingAndAMisshapenTensor) {
  const std::string key = "vision_model.encoder.layers.3.mlp.fc1.weight";
  TensorStore missing, misshapen;
  for (const auto& [tensor_name, tensor] : checkpoint().tensors.tensors()) {
    if (tensor_name != key) missing.add(tensor_name, tensor);
    StoredTensor changed = tensor;
    if (tensor_name == key) std::swap(changed.shape[0], changed.shape[1]);
    misshapen.add(tensor_name, changed);
  }
  for (const TensorStore* store : {&missing, &misshapen}) {
    try {
      const BlipModel built(checkpoint().config, *store);
      FAIL() << "accepted a damaged checkpoint";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::bad_model);
      EXPECT_NE(std::string(e.what()).find(key), std::string::npos) << e.what();
    }
  }
}

TEST(BlipModel, SaysWhatTheCheckpointLacks) {
  const Checkpoint captioner = open_checkpoint(BLIP_SOURCE_DIR "/tests/golden/data/C_hf/caption");
  const BlipModel built(captioner.config, captioner.tensors);
  try {
    built.text_encoder();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace blip
