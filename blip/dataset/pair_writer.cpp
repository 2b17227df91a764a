#include "blip/dataset/pair_writer.h"

#include <cstdio>
#include <fstream>
#include <string_view>
#include <utility>

#include "blip/base/error.h"
#include "blip/dataset/tar_writer.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

std::string lines_of(std::span<const std::string> texts) {
  std::string lines;
  for (std::string text : texts) {
    for (char& c : text) {
      if (c == '\n' || c == '\r') c = ' ';
    }
    lines += text + "\n";
  }
  return lines;
}

class TarPairWriter final : public PairWriter {
 public:
  TarPairWriter(const fs::path& file, std::string part) : tar_(file), part_(std::move(part)) {}

  void add(const PairRecord& record, std::span<const std::string> texts,
           const std::string& notes) override {
    std::string key = record.name;
    if (record.file.empty()) {
      for (const auto& [ending, content] : record.sample.files) {
        if (ending == "txt" || ending == "caption" || ending == "capfilt.json") continue;
        tar_.add(ending.empty() ? key : key + "." + ending, content);
      }
    } else {
      char number[32];
      std::snprintf(number, sizeof number, "_%06zu", count_);
      key = part_ + number;
      std::string ending = record.file.extension().string();
      for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      tar_.add(key + ending, record.picture_bytes());
    }
    tar_.add(key + ".txt", lines_of(texts));
    tar_.add(key + ".capfilt.json", notes);
    ++count_;
  }

  void remove(const PairRecord&) override {}  // the tar is begun anew

  void finish() override { tar_.finish(); }

 private:
  TarWriter tar_;
  std::string part_;
  std::size_t count_ = 0;
};

class FolderPairWriter final : public PairWriter {
 public:
  FolderPairWriter(fs::path folder, fs::path temporary)
      : folder_(std::move(folder)), temporary_(std::move(temporary)) {}

  void add(const PairRecord& record, std::span<const std::string> texts,
           const std::string&) override {
    fs::path file = place_of(record);
    write(file, record.picture_bytes());
    // Last: a picture with its texts is whole.
    write(file.replace_extension(".txt"), lines_of(texts));
  }

  void remove(const PairRecord& record) override {
    std::error_code ignored;
    fs::path file = place_of(record);
    fs::remove(file, ignored);
    fs::remove(file.replace_extension(".txt"), ignored);
  }

  void finish() override {}

 private:
  fs::path place_of(const PairRecord& record) const {
    std::string name = record.name;
    if (record.file.empty()) name += "." + record.picture;
    return folder_ / name;
  }

  void write(const fs::path& file, std::string_view content) {
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    std::ofstream out(temporary_, std::ios::binary | std::ios::trunc);
    out << content;
    out.close();
    if (!out) {
      throw Error(ErrorCode::io, "cannot write " + file.string() + ": the disk may be full");
    }
    fs::rename(temporary_, file, error);
    if (error) {
      throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + error.message());
    }
  }

  fs::path folder_, temporary_;
};

}  // namespace

std::unique_ptr<PairWriter> make_tar_writer(const fs::path& file, const std::string& part) {
  return std::make_unique<TarPairWriter>(file, part);
}

std::unique_ptr<PairWriter> make_folder_writer(const fs::path& folder, const fs::path& temporary) {
  return std::make_unique<FolderPairWriter>(folder, temporary);
}

std::string unsafe_below(const std::string& name) {
  const fs::path path(name);
  bool outside = path.is_absolute() || name.find('\0') != std::string::npos || path.empty();
  for (const fs::path& step : path) outside = outside || step == "..";
  return outside ? in_quotes(name) + " is a name outside of the folder" : "";
}

}  // namespace blip
