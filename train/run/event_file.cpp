#include "train/run/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>

#include "blip/base/error.h"

namespace blip::train {
namespace {

std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    table[i] = crc;
  }
  return table;
}

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <class T>
void append_little(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    out += static_cast<char>(static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

// The wire format of protobuf: a key (field number and wire type), then the value.
void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}
void append_key(std::string& out, int field, int wire_type) {
  append_varint(out, static_cast<std::uint64_t>(field << 3 | wire_type));
}
void append_double(std::string& out, int field, double value) {
  append_key(out, field, 1);
  append_little(out, std::bit_cast<std::uint64_t>(value));
}
void append_float(std::string& out, int field, float value) {
  append_key(out, field, 5);
  append_little(out, std::bit_cast<std::uint32_t>(value));
}
void append_number(std::string& out, int field, std::int64_t value) {
  append_key(out, field, 0);
  append_varint(out, static_cast<std::uint64_t>(value));
}
void append_bytes(std::string& out, int field, std::string_view value) {
  append_key(out, field, 2);
  append_varint(out, value.size());
  out += value;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// An Event with its wall_time (1) and step (2).
std::string begin_event(std::int64_t step) {
  std::string event;
  append_double(event, 1, now());
  if (step != 0) append_number(event, 2, step);
  return event;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> kTable = make_table();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc = kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  }
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t first_step) {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  const std::filesystem::path file =
      folder / ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(now())) + "." +
                host + "." + std::to_string(getpid()));
  out_.open(file, std::ios::binary | std::ios::app);
  if (!out_) {
    throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + std::strerror(errno));
  }
  std::string event = begin_event(0);
  append_bytes(event, 3, "brain.Event:2");  // file_version
  write(event);
  if (first_step == 0) return;
  std::string start;
  append_number(start, 1, 1);  // SessionLog.status = START
  event = begin_event(first_step);
  append_bytes(event, 7, start);
  write(event);
}

void EventFile::add(std::int64_t step, const Values& values) {
  std::string summary;
  for (const auto& [tag, number] : values) {
    std::string value;
    append_bytes(value, 1, tag);
    append_float(value, 2, static_cast<float>(number));
    append_bytes(summary, 1, value);
  }
  std::string event = begin_event(step);
  append_bytes(event, 5, summary);
  write(event);
}

void EventFile::write(const std::string& event) {
  std::string record;
  append_little(record, static_cast<std::uint64_t>(event.size()));
  append_little(record, masked(record));
  record += event;
  append_little(record, masked(event));
  out_ << record << std::flush;
}

}  // namespace blip::train
