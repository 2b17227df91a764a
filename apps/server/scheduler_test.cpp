#include "apps/server/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "blip/base/error.h"
#include "blip/image/decode.h"
#include "blip/tasks/default_model_test.h"

namespace blip::server {
namespace {

CaptionRequest request() {
  static const Image image = load_image(kModel / "samples" / "test_pair-00065.png");
  static const EncodedImage encoded = captioner().engine().encode({&image, 1}).front();
  return {encoded, ""};
}

std::string caption_alone(const CaptionOptions& options) {
  const CaptionRequest one = request();
  return captioner().caption({&one, 1}, options).front().front().text;
}

std::string caption(Scheduler& scheduler, const CaptionOptions& options,
                    const Ticket& ticket = {}) {
  const CaptionRequest one = request();
  return scheduler.caption(captioner(), {&one, 1}, {&options, 1}, ticket).front().front().text;
}

TEST(Scheduler, CallsOfManyThreadsWriteTogether) {
  Scheduler scheduler({.num_threads = 1, .max_batch = 4, .max_rows = 8});
  std::vector<std::thread> threads;
  std::atomic<int> equal{0};
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&, i] {
      const CaptionOptions options = with(1 + i % 3);
      if (caption(scheduler, options) == caption_alone(options)) ++equal;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, 12);
  const Scheduler::Counts counts = scheduler.counts();
  EXPECT_EQ(counts.waiting, 0u);
  EXPECT_GT(counts.rows, counts.steps);
}

TEST(Scheduler, ACallLargerThanTheBatchRunsAlone) {
  Scheduler scheduler({.num_threads = 1, .max_batch = 2, .max_rows = 2});
  const std::vector<CaptionRequest> requests(5, request());
  const std::vector<CaptionOptions> options(5, with(3));
  const auto captions = scheduler.caption(captioner(), requests, options, {});
  ASSERT_EQ(captions.size(), 5u);
  for (const auto& one : captions) EXPECT_EQ(one.front().text, caption_alone(with(3)));
}

TEST(Scheduler, AFailureIsItsCallersAlone) {
  Scheduler scheduler({.num_threads = 1});
  const Ticket ticket;
  EXPECT_THROW(scheduler.run(ticket, [](const Context&) { throw Error(ErrorCode::usage, "no"); }),
               Error);
  CaptionOptions impossible = with(1);
  for (int id = 0; id < 1000; ++id) impossible.generation.bad_words_ids.push_back({id});
  impossible.generation.min_length = 10;
  EXPECT_THROW(caption(scheduler, impossible), Error);
  EXPECT_EQ(caption(scheduler, with(1)), caption_alone(with(1)));
}

TEST(Scheduler, AnEndedTicketEndsWhatWaitsAndWhatRuns) {
  Scheduler scheduler({.num_threads = 1});
  Ticket running, waiting;
  std::atomic<bool> began{false};
  std::thread first([&] {
    EXPECT_THROW(scheduler.run(running,
                               [&](const Context& context) {
                                 began = true;
                                 for (;;) context.check_stop();
                               }),
                 Error);
  });
  while (!began) std::this_thread::yield();
  std::thread second([&] { EXPECT_THROW(caption(scheduler, with(1), waiting), Error); });
  while (scheduler.counts().waiting == 0) std::this_thread::yield();
  waiting.end(Ending::client_left);
  running.end(Ending::deadline);
  running.end(Ending::client_left);
  first.join();
  second.join();
  EXPECT_EQ(running.ending(), Ending::deadline);
}

TEST(Scheduler, StoppingEndsEveryCall) {
  auto scheduler = std::make_unique<Scheduler>(SchedulerOptions{.num_threads = 1});
  std::atomic<bool> began{false};
  const Ticket ticket;
  Ticket held;
  std::thread busy([&] {
    EXPECT_THROW(scheduler->run(held,
                                [&](const Context& context) {
                                  began = true;
                                  for (;;) context.check_stop();
                                }),
                 Error);
  });
  while (!began) std::this_thread::yield();
  std::thread waits([&] { EXPECT_THROW(caption(*scheduler, with(1), ticket), Error); });
  while (scheduler->counts().waiting == 0) std::this_thread::yield();
  std::thread ends([&] { scheduler.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  held.end(Ending::shutdown);
  busy.join();
  waits.join();
  ends.join();
}

}  // namespace
}  // namespace blip::server
