#include "apps/server/expiring_store.h"

#include <gtest/gtest.h>

namespace blip::server {
namespace {

using Store = ExpiringStore<std::string>;
using std::chrono::seconds;
const Store::Clock::time_point kStart{};

TEST(ExpiringStore, GivesOnce) {
  Store store({4, 100, seconds(10)});
  const std::string key = store.put("a", 1);
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(store.take(key), "a");
  EXPECT_FALSE(store.take(key));
  EXPECT_FALSE(store.take(""));
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(ExpiringStore, KeysDiffer) {
  Store store({4, 100, seconds(10)});
  EXPECT_NE(store.put("a", 1), store.put("a", 1));
}

TEST(ExpiringStore, ForgetsWhatIsOld) {
  Store store({4, 100, seconds(10)});
  const std::string old = store.put("old", 3, kStart);
  const std::string young = store.put("young", 5, kStart + seconds(5));
  EXPECT_FALSE(store.take(old, kStart + seconds(10)));
  EXPECT_EQ(store.bytes(), 5u);
  EXPECT_EQ(store.take(young, kStart + seconds(14)), "young");
}

TEST(ExpiringStore, NewerOnesPushOutTheOldest) {
  Store store({3, 100, seconds(10)});
  const std::string first = store.put("1", 40, kStart);
  const std::string second = store.put("2", 40, kStart);
  const std::string third = store.put("3", 40, kStart);
  EXPECT_EQ(store.bytes(), 80u) << "bytes";
  EXPECT_FALSE(store.take(first, kStart));
  store.put("4", 1, kStart);
  store.put("5", 1, kStart);
  EXPECT_FALSE(store.take(second, kStart)) << "count";
  EXPECT_EQ(store.take(third, kStart), "3");
}

TEST(ExpiringStore, RefusesWhatCannotFit) {
  Store store({3, 100, seconds(10)});
  const std::string key = store.put("1", 100, kStart);
  EXPECT_THROW(store.put("2", 101, kStart), Error);
  EXPECT_EQ(store.take(key, kStart), "1") << "nothing makes room in vain";
}

TEST(ExpiringStore, TakesTheOldestThatIsWanted) {
  Store store({4, 100, seconds(10)});
  store.put("a", 1, kStart);
  const std::string key = store.put("b1", 1, kStart);
  store.put("b2", 1, kStart);
  const auto wanted = [](const std::string&, const std::string& v) { return v[0] == 'b'; };
  const auto found = store.take_first(wanted, kStart);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->first, key);
  EXPECT_EQ(found->second, "b1");
}

}  // namespace
}  // namespace blip::server
