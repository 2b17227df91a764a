#include "apps/cli/part_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "blip/base/error.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& file, const std::string& reason) {
  throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + reason);
}

}  // namespace

PartJournal::PartJournal(fs::path file) : file_(std::move(file)), part_(file_) {
  part_ += ".part";
  std::error_code error;
  if (fs::exists(file_, error)) {
    fs::rename(file_, part_, error);
    if (error) fail(part_, error.message());
  }
  in_.open(part_, std::ios::binary);
  if (!in_) begin_appending();
}

std::optional<Json> PartJournal::next() {
  std::string line;
  // A line that ends with the file was not written whole.
  if (in_.is_open() && std::getline(in_, line) && !in_.eof()) {
    try {
      Json row = parse_json(line, part_.string());
      last_ = line.size() + 1;
      whole_ += last_;
      return row;
    } catch (const Error&) {
      // What a crash of the machine left: the part goes on from here.
    }
  }
  if (!out_.is_open()) begin_appending();
  return std::nullopt;
}

void PartJournal::forget_last() {
  whole_ -= last_;
  begin_appending();
}

void PartJournal::begin_appending() {
  in_.close();
  std::error_code error;
  if (fs::exists(part_, error)) fs::resize_file(part_, whole_, error);
  if (error) fail(part_, error.message());
  out_.open(part_, std::ios::binary | std::ios::app);
  if (!out_) fail(part_, std::strerror(errno));
}

void PartJournal::append(const std::string& row) {
  out_ << row << '\n';
}

void PartJournal::flush() {
  out_.flush();
  if (!out_) fail(part_, "the disk may be full");
}

void PartJournal::finish() {
  out_.close();
  if (!out_) fail(part_, "the disk may be full");
  std::error_code error;
  fs::rename(part_, file_, error);
  if (error) fail(file_, error.message());
}

PartLock::PartLock(fs::path file)
    : file_(std::move(file)),
      descriptor_(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail(file_, std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  // Where the file system has no locks, workers keep apart by --shard.
  if (errno != EWOULDBLOCK) return;
  ::close(std::exchange(descriptor_, -1));
}

PartLock::~PartLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartLock::remove() {
  ::unlink(file_.c_str());
}

}  // namespace blip::cli
