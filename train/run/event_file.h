#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blip::train {

/// CRC-32C (Castagnoli).
std::uint32_t crc32c(std::string_view bytes);

/// TensorBoard's event files: records of length, masked CRC-32C of the length, protobuf message,
/// masked CRC-32C of the message. (tensorflow/core/lib/io/record_writer.cc, util/event.proto.)
class EventFile {
 public:
  using Values = std::vector<std::pair<std::string, double>>;

  /// Creates FOLDER/events.out.tfevents.TIME.HOST.PID. `first_step`: what older files of the folder
  /// say about this step and later ones is not shown. Throws Error{io}.
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);

  /// One point of each curve. Errors of the disk are ignored: these files are for looking only.
  void add(std::int64_t step, const Values& values);

 private:
  void write(const std::string& event);

  std::ofstream out_;
};

}  // namespace blip::train
