#include "apps/server/mcp_stdio.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "apps/server/mcp_stage_test.h"

namespace blip::server {
namespace {

using namespace std::chrono_literals;

/// A client at the other end of the pipes.
class StdioTest : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    ASSERT_EQ(pipe(to_.data()), 0);
    ASSERT_EQ(pipe(from_.data()), 0);
    ASSERT_EQ(pipe(stop_.data()), 0);
  }
  void TearDown() override {
    finish();
    for (const int fd : {from_[0], to_[0], from_[1], stop_[0], stop_[1]}) close_once(fd);
  }
  void begin(std::size_t message_bytes = 10'000, std::size_t requests = 4) {
    thread_ = std::thread([this, message_bytes, requests] {
      serve_mcp(mcp_, {to_[0], from_[1], stop_[0], message_bytes, requests});
      ::close(std::exchange(from_[1], -1));
    });
  }
  void say(const std::string& text) {
    ASSERT_EQ(::write(to_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void send(const Json& message) { say(message.dump() + "\n"); }
  /// The next line, or "" at the end or after some seconds.
  std::string line() {
    while (buffer_.find('\n') == std::string::npos) {
      pollfd one{from_[0], POLLIN, 0};
      std::array<char, 4096> piece;
      if (::poll(&one, 1, 10'000) <= 0) return {};
      const ssize_t got = ::read(from_[0], piece.data(), piece.size());
      if (got <= 0) return {};
      buffer_.append(piece.data(), static_cast<std::size_t>(got));
    }
    const std::string text = buffer_.substr(0, buffer_.find('\n'));
    buffer_.erase(0, text.size() + 1);
    return text;
  }
  Json answer() {
    const std::string text = line();
    return text.empty() ? Json() : Json::parse(text);
  }
  void end_input() { close_once(to_[1]); }
  void stop() { ASSERT_EQ(::write(stop_[1], "x", 1), 1); }
  void finish() {
    end_input();
    if (thread_.joinable()) thread_.join();
  }
  /// From now on tools run until they are cancelled, and say that they have begun.
  void block() {
    stage_.act = [this](Task, const TaskInput&, const Ticket& ticket, const Events&) -> Json {
      ++begun_;
      while (!ticket.ended()) std::this_thread::sleep_for(1ms);
      {
        const std::lock_guard lock(mutex_);
        endings_.push_back(ticket.ending());
      }
      ticket.check();
      return {};
    };
  }
  void wait_until_begun(int count) {
    while (begun_ < count) std::this_thread::sleep_for(1ms);
  }
  void close_once(int& fd) {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
  void close_once(const int& fd) {
    if (fd >= 0) ::close(fd);
  }

  Stage stage_;
  Mcp mcp_ = stage_.mcp();
  std::array<int, 2> to_{}, from_{}, stop_{};
  std::string buffer_;
  std::atomic<int> begun_{0};
  std::mutex mutex_;
  std::vector<Ending> endings_;  ///< guarded by mutex_
  std::thread thread_;
};

TEST_F(StdioTest, AnswersLinesAndEndsWithTheInput) {
  begin();
  say("\r\n  \n");
  send(request("initialize", {{"protocolVersion", "2025-03-26"}}));
  EXPECT_EQ(answer()["result"]["protocolVersion"], "2025-03-26");
  send(Json{{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}});
  say("nonsense\n");
  EXPECT_EQ(answer()["error"]["code"], -32700);
  say(std::string("\xff\xfe\0\n", 4));
  EXPECT_EQ(answer()["error"]["code"], -32700);
  say(std::string(5000, '[') + "\n");
  EXPECT_EQ(answer()["error"]["code"], -32700);
  send(Json::array({request("ping")}));
  EXPECT_EQ(answer()[0]["id"], 1);
  say(request("tools/call", caption()).dump());  // without a newline
  end_input();
  EXPECT_EQ(answer()["result"]["content"][0]["text"], "a cat");
  EXPECT_EQ(line(), "");
}

TEST_F(StdioTest, KeepsTheVersionThatWasAgreedOn) {
  begin();
  send(request("initialize", {{"protocolVersion", "2025-06-18"}}));
  answer();
  send(Json::array({request("ping")}));
  EXPECT_EQ(answer()["error"]["code"], -32600);
}

TEST_F(StdioTest, RefusesALongLineAndReadsOn) {
  begin(100);
  const std::string ping = request("ping").dump();
  say(ping + std::string(100 - ping.size(), ' ') + "\n");
  EXPECT_TRUE(answer().contains("result"));
  say(ping + std::string(101 - ping.size(), ' ') + "\n" + std::string(50'000, 'x') + "\n");
  EXPECT_EQ(answer()["error"]["code"], -32600);
  EXPECT_EQ(answer()["error"]["code"], -32600);
  say(ping + "\n");
  EXPECT_TRUE(answer().contains("result"));
}

TEST_F(StdioTest, ACancelledRequestIsNotAnswered) {
  block();
  begin();
  send(request("tools/call", caption(), "slow"));
  wait_until_begun(1);
  send(Json{{"jsonrpc", "2.0"},
            {"method", "notifications/cancelled"},
            {"params", {{"requestId", "other"}}}});
  send(request("ping", Json::object(), 1));
  EXPECT_EQ(answer()["id"], 1);
  send(Json{{"jsonrpc", "2.0"},
            {"method", "notifications/cancelled"},
            {"params", {{"requestId", "slow"}}}});
  send(request("ping", Json::object(), 2));
  EXPECT_EQ(answer()["id"], 2);
  finish();
  EXPECT_EQ(line(), "");
  EXPECT_EQ(endings_, std::vector{Ending::cancelled});
}

TEST_F(StdioTest, TakesSoManyRequestsAtOnce) {
  block();
  begin(10'000, 2);
  send(request("tools/call", caption(), 1));
  send(request("tools/call", caption(), 2));
  wait_until_begun(2);
  send(request("tools/call", caption(), 3));
  const Json refused = answer();
  EXPECT_EQ(refused["id"], 3);
  EXPECT_EQ(refused["error"]["code"], -32603);
  stop();
  finish();
  EXPECT_EQ(endings_, (std::vector{Ending::shutdown, Ending::shutdown}));
}

TEST_F(StdioTest, StopsThoughTheClientReadsNothing) {
  begin(200'000, 2);
  for (int i = 0; i < 40; ++i) send(request("tools/list"));  // more than a pipe holds
  std::this_thread::sleep_for(50ms);
  stop();
  thread_.join();
}

TEST_F(StdioTest, EndsWhatNobodyWillRead) {
  block();
  begin();
  send(request("tools/call", caption()));
  wait_until_begun(1);
  ::close(std::exchange(from_[0], -1));
  finish();
  EXPECT_EQ(endings_, std::vector{Ending::shutdown});
}

}  // namespace
}  // namespace blip::server
