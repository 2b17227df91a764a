#include "apps/cli/eval_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::cli {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& reason) {
  throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + reason);
}

/// The first key in which two runs differ.
std::string difference(const Json& a, const Json& b) {
  for (const auto& [key, value] : b.items()) {
    if (!a.is_object() || !a.contains(key) || a[key] != value) return key;
  }
  return "format";
}

}  // namespace

EvalJournal::EvalJournal(std::filesystem::path file, const Json& run)
    : file_(std::move(file)),
      descriptor_(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail(file_, std::strerror(errno));
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      throw Error(ErrorCode::usage, file_.string() + " is in use by another run");
    }
    const std::size_t whole = read(run);
    if (::ftruncate(descriptor_, static_cast<off_t>(whole)) != 0 ||
        ::lseek(descriptor_, 0, SEEK_END) < 0) {
      fail(file_, std::strerror(errno));
    }
    if (whole == 0) append(run);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

EvalJournal::~EvalJournal() {
  ::close(descriptor_);
}

/// Reads the rows; returns how many bytes are whole lines.
std::size_t EvalJournal::read(const Json& run) {
  constexpr std::size_t kMaxBytes = std::size_t{8} << 30;
  const std::string content = read_file(file_, kMaxBytes);
  const std::size_t whole = content.rfind('\n') + 1;  // 0 when there is none
  std::string_view text = std::string_view(content).substr(0, whole);
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string where = "line " + std::to_string(number) + " of " + file_.string();
    Json row;
    try {
      row = parse_json(text.substr(0, end), where);
    } catch (const Error& e) {
      throw Error(ErrorCode::io, e.what());  // the file is no model
    }
    text.remove_prefix(end + 1);
    if (number > 1) {
      rows_.push_back(std::move(row));
    } else if (row != run) {
      throw Error(ErrorCode::usage, file_.string() + " is of a run with another " +
                                        difference(row, run) +
                                        "; delete it to begin anew, or write to another file");
    }
  }
  return whole;
}

void EvalJournal::append(const Json& row) {
  const std::string line = dump(row) + '\n';
  std::string_view left = line;
  while (!left.empty()) {
    const ssize_t n = ::write(descriptor_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(file_, std::strerror(errno));
    left.remove_prefix(static_cast<std::size_t>(n));
  }
}

void EvalJournal::remove() {
  ::unlink(file_.c_str());
}

}  // namespace blip::cli
