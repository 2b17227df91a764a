#include "blip/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>

#include "blip/base/error.h"

namespace blip {
namespace {

/// An open descriptor of a regular file, closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& file)
      : fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) {
      const ErrorCode code =
          errno == ENOENT || errno == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
      throw Error(code, "cannot open " + file.string() + ": " + std::strerror(errno));
    }
    struct stat status {};
    if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(fd_);
      throw Error(ErrorCode::io, file.string() + " is not a regular file");
    }
    size_ = static_cast<std::size_t>(status.st_size);
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  std::size_t size() const { return size_; }

 private:
  int fd_;
  std::size_t size_ = 0;
};

/// A name beside `file` that no other writer uses; what it names is removed at the end of the
/// scope.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& file) {
    static std::atomic<unsigned> count{0};
    const std::string end = ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    // A name may be as long as the system allows, and so no longer with an addition.
    path_ = file.parent_path() / (file.filename().string().substr(0, NAME_MAX - end.size()) + end);
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

[[noreturn]] void fail_write(const std::filesystem::path& file, const std::string& reason) {
  throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + reason);
}

/// Absolute: beside "." is not in it.
std::filesystem::path without_final_slash(const std::filesystem::path& folder) {
  const std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

std::string read_file(const std::filesystem::path& file, std::size_t max_bytes) {
  const Descriptor descriptor(file);
  if (descriptor.size() > max_bytes) {
    throw Error(ErrorCode::too_large, file.string() + " has " + std::to_string(descriptor.size()) +
                                          " bytes; at most " + std::to_string(max_bytes) +
                                          " are read");
  }
  std::string content(descriptor.size(), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(descriptor.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      throw Error(ErrorCode::io, "cannot read " + file.string() + ": " + std::strerror(errno));
    }
    if (n == 0) break;  // the file shrank since it was opened
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

void write_file(const std::filesystem::path& file,
                const std::function<void(std::ostream&)>& write) {
  const TemporaryFile temporary(file);
  write_file_as(file, temporary.path(), write);
}

void write_file_as(const std::filesystem::path& file, const std::filesystem::path& temporary,
                   const std::function<void(std::ostream&)>& write) {
  // A rename would put a regular file in the place of a device or a pipe.
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored) && !std::filesystem::is_regular_file(file, ignored)) {
    fail_write(file, "it is not a regular file");
  }
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  if (!out) fail_write(file, std::strerror(errno));
  write(out);
  out.close();
  if (!out) fail_write(file, "the disk may be full");
  std::error_code error;
  std::filesystem::rename(temporary, file, error);
  if (error) fail_write(file, error.message());
}

NewFolder::NewFolder(const std::filesystem::path& target) : target_(without_final_slash(target)) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(target_, error) && !(fs::is_directory(target_, error) && fs::is_empty(target_))) {
    throw Error(ErrorCode::usage, target.string() + " exists already and is not empty");
  }
  std::string pattern = target_.string() + ".XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    throw Error(ErrorCode::io,
                "cannot make a folder beside " + target.string() + ": " + std::strerror(errno));
  }
  path_ = pattern;
  fs::permissions(path_,
                  fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read |
                      fs::perms::others_exec,
                  fs::perm_options::add, error);
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

void NewFolder::give_name() {
  std::error_code error;
  std::filesystem::rename(path_, target_, error);
  if (error) fail_write(target_, error.message());
  path_.clear();
}

namespace {

/// The end of each mapped file by its beginning. Never destroyed: checkpoints may outlive it.
struct Mappings {
  std::mutex mutex;
  std::map<const std::byte*, const std::byte*> ends;
};

Mappings& mappings() {
  static auto* const all = new Mappings;
  return *all;
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size)
    : path_(std::move(path)), data_(data), size_(size) {
  const std::lock_guard lock(mappings().mutex);
  mappings().ends[data_] = data_ + size_;
}

void MappedFile::give_back(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin >= end) return;
  const std::lock_guard lock(mappings().mutex);
  const auto after = mappings().ends.upper_bound(bytes.data());
  if (after == mappings().ends.begin()) return;
  if (bytes.data() + bytes.size() > std::prev(after)->second) return;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& file) {
  const Descriptor descriptor(file);
  const std::byte* data = nullptr;
  if (descriptor.size() > 0) {
    void* address = ::mmap(nullptr, descriptor.size(), PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
    if (address == MAP_FAILED) {
      throw Error(ErrorCode::io, "cannot map " + file.string() + ": " + std::strerror(errno));
    }
    data = static_cast<const std::byte*>(address);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(file, data, descriptor.size()));
}

MappedFile::~MappedFile() {
  const std::lock_guard lock(mappings().mutex);
  mappings().ends.erase(data_);
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace blip
