#include "blip/tasks/text_generation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include "blip/image/decode.h"
#include "blip/model/blip.h"
#include "blip/tasks/default_model_test.h"

// Sanitizers have memory functions of their own.
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BLIP_COUNTS_MEMORY 0
#elif defined(__has_feature)
#define BLIP_COUNTS_MEMORY (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define BLIP_COUNTS_MEMORY 1
#endif

#if BLIP_COUNTS_MEMORY
namespace {
std::atomic<long> pieces_of_memory = 0;
}
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void* malloc(std::size_t size) noexcept {
  ++pieces_of_memory;
  return __libc_malloc(size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++pieces_of_memory;
  return __libc_memalign(alignment, size);
}
}

namespace blip {
namespace {

/// Pieces of memory that each of 60 steps takes.
std::vector<long> memory_of_steps(Precision precision, int num_beams) {
  const Engine engine = Engine::load(kModel, {.precision = precision});
  const Image image = load_image(kModel / "samples" / "test_iid-00063.png");
  const EncodedImage encoded = engine.encode({&image, 1}).front();
  const TextDecoder& decoder = engine.model().text_decoder();
  const CrossKeysValues source =
      decoder.attend_to(encoded.image_embeds(), static_cast<std::size_t>(encoded.num_tokens()), {});
  GenerationRequest request{.prompt_ids = {engine.model().config().text.bos_token_id},
                            .config = engine.default_generation()};
  request.config.num_beams = num_beams;
  request.config.repetition_penalty = 1.1;
  request.config.max_new_tokens = request.config.min_new_tokens = 60;
  TextBatch batch(decoder);
  batch.add(request, source);
  std::vector<long> taken;
  while (!batch.generation().idle()) {
    const long before = pieces_of_memory;
    // On one thread: beside other programs several take memory for what lets them yield (IdleTeam).
    batch.step({.num_threads = 1});
    taken.push_back(pieces_of_memory - before);
  }
  return taken;
}

TEST(TextBatch, StepsTakeNoMemory) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
    // Until the lists of tokens have grown to 64.
    const std::vector<long> greedy = memory_of_steps(precision, 1);
    ASSERT_EQ(greedy.size(), 60u);
    EXPECT_EQ(std::count(greedy.begin() + 34, greedy.end() - 1, 0), 25) << name(precision);
    // Beams that part fill a block of the cache every eighth step at most; its lists grow, too.
    const std::vector<long> beams = memory_of_steps(precision, 8);
    EXPECT_GE(std::count(beams.begin() + 34, beams.end() - 1, 0), 20) << name(precision);
  }
}

}  // namespace
}  // namespace blip
#endif
