#include "train/run/configuration.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

class ConfigurationFile : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / ("blip_config_" + std::to_string(getpid()) + name);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& text, const std::string& name = "c.yaml") const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  Configuration read(const std::string& text, const Texts& overrides = {}) const {
    return read_configuration(write(text), overrides);
  }
  void fails(const std::string& text, const std::string& says, const Texts& overrides = {}) const {
    try {
      read(text, overrides);
      ADD_FAILURE() << "no error that says " << says;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    }
  }

  fs::path folder_;
};

TEST_F(ConfigurationFile, NestedDottedAndOverridden) {
  const Configuration c = read(
      "output: run\noptim:\n  lr: 3e-4\n  epochs: 20\nloss.alpha: 0\ndata:\n  train: [a.json, b]\n"
      "  prompt: 'a picture of '\naugment: {flip: false}\nmodel.frozen: vision\n",
      {"optim.epochs=2", "data.train=[x.json]", "output=a: b", "data.repeat=[2.5]"});
  EXPECT_EQ(c.output, "a: b");
  EXPECT_EQ(c.optim.lr, 3e-4);
  EXPECT_EQ(c.optim.epochs, 2);
  EXPECT_EQ(c.loss.alpha, 0);
  EXPECT_EQ(c.data.train, Texts{"x.json"});
  EXPECT_EQ(c.data.prompt, "a picture of ");
  EXPECT_EQ(c.data.repeat, std::vector<double>{2.5});
  EXPECT_FALSE(c.augment.flip);
  EXPECT_EQ(c.model.frozen, Texts{"vision"});
  EXPECT_EQ(c.seed, 42);
}

TEST_F(ConfigurationFile, Extends) {
  write("optim: {lr: 1e-3, epochs: 7}\n", "base.yaml");
  const Configuration c = read("extends: base.yaml\noptim.lr: 2e-3\n");
  EXPECT_EQ(c.optim.lr, 2e-3);
  EXPECT_EQ(c.optim.epochs, 7);
  fails("extends: c.yaml\n", "extends itself");
}

TEST_F(ConfigurationFile, WrongKeysAreNamedWithTheNearest) {
  fails("output: x\noptim:\n  learning_rate: 1\n", "line 3 of");
  fails("optim:\n  lrr: 1\n", "\"optim.lr\" is the nearest");
  fails("optim:\n  batchsize: 1\n", "\"optim.batch_size\"");
  fails("batch_size: 1\n", "\"optim.batch_size\"");
  fails("", "\"loss.queue_size\"", {"loss.que_size=5"});
  fails("optim: {lr: 1, lr: 2}\n", "again");
}

TEST_F(ConfigurationFile, WrongTypesAndRanges) {
  fails("optim:\n  lr: fast\n", "line 2 of");
  fails("optim.lr: fast\n", "should be a number, but is \"fast\"");
  fails("optim.epochs: 1.5\n", "a whole number");
  fails("optim.epochs: [1]\n", "but is a list");
  fails("augment.flip: 3\n", "true or false");
  fails("data.train: {a: b}\n", "\"data.train.a\" is unknown");
  fails("optim.lr: .nan\n", "a number");
  fails("optim.lr: -1\n", "at least 0");
  fails("optim.schedule: linear\n", "cosine, step, constant");
  fails("device: tpu\n", "cpu, cuda");
  fails("data: {train: [a, b], images: [c, d, e]}\n", "3 folders for 2");
  fails("data: {train: [a, b], repeat: [1]}\n", "\"data.repeat\"");
  fails("- a\n", "keys and values");
  fails("a: [\n", "not valid YAML");
  fails("optim.lr: 1\n", "key=value", {"optim.lr"});
  EXPECT_THROW(read_configuration(folder_ / "none.yaml", {}), Error);
}

TEST_F(ConfigurationFile, TheSavedCopyReadsBack) {
  Configuration c = read("output: \"a \\\" b\\n\"\noptim.lr: 0.1\n",
                         {"data.train=[\"x y\", 'z: #']", "data.repeat=[1, 0.30000000000000004]"});
  const Configuration again = read_configuration(write(to_yaml(c), "saved.yaml"), {});
  EXPECT_EQ(to_yaml(again), to_yaml(c));
  EXPECT_EQ(again.output, "a \" b\n");
  EXPECT_EQ(again.data.train, (Texts{"x y", "z: #"}));
  EXPECT_EQ(again.data.repeat[1], 0.30000000000000004);
}

TEST(Configurations, ThoseThatComeWithTheProjectAreValid) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(BLIP_SOURCE_DIR "/train/configs")) {
    EXPECT_NO_THROW(read_configuration(entry.path(), {})) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 12);
}

TEST(Configurations, TheDocumentationListsEveryKey) {
  const std::string doc = read_file(BLIP_SOURCE_DIR "/docs/training.md", 1 << 20);
  EXPECT_NE(doc.find(describe_fields(true)), std::string::npos)
      << "docs/training.md should hold the output of blip-train --keys:\n"
      << describe_fields(true);
}

}  // namespace
}  // namespace blip::train
