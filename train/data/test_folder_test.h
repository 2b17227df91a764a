#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "blip/image/encode.h"

namespace blip::train {

/// A test with a folder of its own.
class TestFolder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("blip_train_" + std::to_string(getpid()) + info->test_suite_name() + info->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }

  /// A picture of one colour, which tells its number.
  static Image picture(int number) {
    Image image{8, 8, {}};
    for (int i = 0; i < 64; ++i) {
      image.rgb.insert(image.rgb.end(), {static_cast<std::uint8_t>(number), 50, 100});
    }
    return image;
  }

  /// `count` pictures with captions "number N" beside them.
  void write_pictures(int count) const {
    for (int i = 0; i < count; ++i) {
      save_png(picture(i), folder_ / (std::to_string(i) + ".png"));
      write(std::to_string(i) + ".txt", "number " + std::to_string(i));
    }
  }

  std::filesystem::path folder_;
};

}  // namespace blip::train
