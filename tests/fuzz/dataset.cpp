// Any bytes as each kind of annotation and result file; the first byte says which.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/caption_list.h"
#include "blip/dataset/nlvr_dataset.h"
#include "blip/dataset/pair_source.h"
#include "blip/dataset/pair_writer.h"
#include "blip/dataset/results.h"
#include "blip/dataset/tar_samples.h"
#include "blip/dataset/vqa_dataset.h"

namespace {

/// The readers take files. One in memory would do, where the system has it.
const std::string& lines_file();
const std::string& tar_file();

const std::string& scratch_file() {
  static const std::string path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "blip_fuzz_XXXXXX").string();
    const int descriptor = mkstemp(name.data());
    if (descriptor < 0) std::abort();
    close(descriptor);
    std::atexit([] {
      unlink(scratch_file().c_str());
      unlink(lines_file().c_str());
      unlink(tar_file().c_str());
    });
    return name;
  }();
  return path;
}

/// The same file by another name.
std::string linked(const char* ending) {
  const std::string name = scratch_file() + ending;
  if (symlink(scratch_file().c_str(), name.c_str()) != 0) std::abort();
  return name;
}

/// By a name that says that it holds a row a line, or that it is a tar.
const std::string& lines_file() {
  static const std::string path = linked(".jsonl");
  return path;
}

const std::string& tar_file() {
  static const std::string path = linked(".tar");
  return path;
}

void read_tar(const std::filesystem::path& file) {
  blip::TarReader reader(file);
  blip::TarSample sample;
  while (reader.next(sample)) {
  }
}

void read_pairs(const std::filesystem::path& file) {
  const blip::PairSource source = blip::PairSource::open(file.string(), {"", 3, false});
  for (std::size_t part = 0; part < source.parts(); ++part) {
    blip::PairRecord record;
    for (const blip::PairReader next = source.read(part); next(record);) {
      blip::unsafe_below(record.name);
      if (!record.error && record.file.empty()) record.picture_bytes();
    }
  }
}

void read_lines(const std::filesystem::path& lines) {
  try {
    blip::read_captions(lines, "", blip::MissingId::numbered);
  } catch (const blip::Error&) {
  }
  blip::read_vqa(std::span(&lines, 1));
}

/// A list, to whose rows captions are added.
void read_and_add(const std::filesystem::path& file, blip::ListForm form) {
  const std::vector<std::string> captions = {"a cat"};
  blip::read_listed(blip::read_file(file, 1 << 20), form, "list",
                    [&](const std::string&, std::string_view row) {
                      blip::with_added(row, captions, {", "}, form);
                    });
}

void read(int kind, const std::filesystem::path& file) {
  switch (kind) {
    case 0:
      blip::read_captions(file);
      break;
    case 1:
      blip::read_vqa(std::span(&file, 1));
      break;
    case 2:
      blip::read_nlvr(file);
      break;
    case 3:
      blip::read_caption_results(file);
      break;
    case 4:
      blip::read_vqa_results(file);
      break;
    case 5:
      blip::read_nlvr_results(file);
      break;
    case 6:
      read_tar(file);
      break;
    case 7:
      read_lines(lines_file());
      break;
    case 8:
      read_pairs(lines_file());
      break;
    case 9:
      read_and_add(file, blip::ListForm::jsonl);
      break;
    case 10:
      read_and_add(file, blip::ListForm::csv);
      break;
    default:
      read_pairs(tar_file());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::FILE* file = std::fopen(scratch_file().c_str(), "wb");
  if (file == nullptr) std::abort();
  std::fwrite(data + 1, 1, size - 1, file);
  std::fclose(file);
  try {
    read(data[0] % 12, scratch_file());
  } catch (const blip::Error&) {
  }
  return 0;
}
