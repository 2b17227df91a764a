#include "train/run/metrics_log.h"

#include <cmath>

#include "blip/base/file.h"
#include "train/data/test_folder_test.h"
#include "train/run/report.h"

namespace blip::train {
namespace {

class MetricsFiles : public TestFolder {};

TEST(EventFiles, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
}

TEST_F(MetricsFiles, GoOnWhereTheRunDoes) {
  {
    MetricsLog log(folder_, 0, true);
    for (int step = 10; step <= 50; step += 10) log.add(step, {{"loss", 1.0 / step}});
  }
  MetricsLog log(folder_, 30, true);
  log.add(40, {{"loss", std::nan("")}});
  EXPECT_EQ(read_file(folder_ / "metrics.jsonl", 1000),
            "{\"step\": 10, \"loss\": 0.1}\n{\"step\": 20, \"loss\": 0.05}\n"
            "{\"step\": 30, \"loss\": 0.0333333}\n{\"step\": 40, \"loss\": null}\n");
  EXPECT_EQ(read_metrics(folder_ / "metrics.jsonl").size(), 4U);
  write("cut.jsonl", "{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"lo");
  EXPECT_EQ(read_metrics(folder_ / "cut.jsonl").size(), 1U);
}

TEST_F(MetricsFiles, EventRecords) {
  {
    EventFile events(folder_, 0);
    events.add(7, {{"loss", 0.5}});
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const std::string bytes = read_file(entry.path(), 1000);
    // version record: 8 + 4 + (9 + 2 + 13) + 4; then one of 9 + 2 + 2 + (2 + 6 + 5)
    ASSERT_EQ(bytes.size(), 8U + 4 + 24 + 4 + 8 + 4 + 9 + 2 + 2 + 13 + 4);
    EXPECT_EQ(bytes.substr(8 + 4 + 11, 13), "brain.Event:2");
    EXPECT_EQ(bytes.substr(40 + 12 + 9, 2), "\x10\x07");
    EXPECT_EQ(bytes.substr(40 + 12 + 15, 8), std::string("\x0A\x04loss\x15\0", 8));
  }
}

TEST_F(MetricsFiles, Report) {
  {
    MetricsLog log(folder_, 0, false);
    for (int step = 1; step <= 1000; ++step)
      log.add(step, {{"loss", 5.0 - step * 0.004}, {"lr", 1}});
  }
  save_png(picture(3), folder_ / "p.png");
  Configuration configuration;
  configuration.output = "<run>";
  write_report(folder_, "caption", configuration,
               {{(folder_ / "p.png").string(), "a <b>"}, {"/nonexistent.png", "gone"}});
  const std::string html = read_file(folder_ / "report.html", 1 << 20);
  EXPECT_NE(html.find("loss: 1 at the end"), std::string::npos);
  EXPECT_NE(html.find("a &lt;b&gt;"), std::string::npos);
  EXPECT_NE(html.find("output: &quot;&lt;run&gt;&quot;"), std::string::npos);
  EXPECT_EQ(html.find("gone"), std::string::npos);
  EXPECT_EQ(curve({}, "loss"), "");
}

}  // namespace
}  // namespace blip::train
