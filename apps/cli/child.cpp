#include "apps/cli/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include "apps/cli/stop.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPatience{20};
constexpr int kNotStarted = 127;

/// In the child: becomes the program. Only what is safe between fork() and exec().
[[noreturn]] void become(char* const* arguments, pid_t parent, int out, int err) {
  // Its own group: the terminal's Ctrl-C comes to the parent alone, which passes it on once.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(kNotStarted);
  ::dup2(out, STDOUT_FILENO);
  if (err >= 0) ::dup2(err, STDERR_FILENO);
  for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, SIG_DFL);
  ::execv(arguments[0], arguments);
  ::_exit(kNotStarted);
}

/// `out` becomes its standard output; its standard error, too, where `both`.
pid_t start(std::vector<std::string> words, int out, bool both) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child == 0) become(arguments.data(), parent, out, both ? out : -1);
  if (child < 0)
    throw Error(ErrorCode::io, "cannot start " + words[0] + ": " + std::strerror(errno));
  return child;
}

/// Its exit status once it has ended, or 128 + a signal.
std::optional<int> ended(pid_t child) {
  int state = 0;
  pid_t found = 0;
  do {
    found = ::waitpid(child, &state, WNOHANG);
  } while (found < 0 && errno == EINTR);
  if (found < 0) throw Error(ErrorCode::internal, "a program that was started is lost");
  if (found == 0) return std::nullopt;
  return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
}

int wait_for(pid_t child) {
  bool told = false;
  for (;;) {
    if (const auto status = ended(child)) return *status;
    if (stop_requested() && !told) {
      ::kill(child, SIGTERM);
      told = true;
    }
    std::this_thread::sleep_for(kPatience);
  }
}

ErrorCode code_of(int status) {
  for (const ErrorCode code :
       {ErrorCode::usage, ErrorCode::not_found, ErrorCode::io, ErrorCode::bad_model,
        ErrorCode::unsupported, ErrorCode::bad_image, ErrorCode::too_large, ErrorCode::cancelled}) {
    if (exit_status(code) == status) return code;
  }
  return ErrorCode::internal;
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) return text;
  }
}

/// "blip-train: a sentence" without its speaker.
std::string sentence(std::string text, const std::string& program) {
  const std::string speaker = fs::path(program).filename().string() + ": ";
  if (text.starts_with(speaker)) text.erase(0, speaker.size());
  text.erase(text.find_last_not_of('\n') + 1);
  return text;
}

}  // namespace

fs::path own_program() {
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) throw Error(ErrorCode::io, "cannot find the program itself: " + error.message());
  return self;
}

fs::path find_trainer() {
  const fs::path trainer = own_program().parent_path() / "blip-train";
  std::error_code ignored;
  if (fs::exists(trainer, ignored)) return trainer;
  throw Error(ErrorCode::not_found,
              "the trainer is not installed: " + trainer.string() +
                  " is missing (it is built where libtorch is, with BLIP_TRAIN=ON)");
}

int run_program(const std::vector<std::string>& words) {
  const int status = wait_for(start(words, STDERR_FILENO, false));
  if (status == kNotStarted) throw Error(ErrorCode::io, "cannot start " + words[0]);
  return status;
}

std::string output_of(const std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw Error(ErrorCode::io, std::string("cannot open a pipe: ") + std::strerror(errno));
  const pid_t child = start(words, ends[1], true);
  ::close(ends[1]);
  std::string text = read_all(ends[0]);
  ::close(ends[0]);
  const int status = wait_for(child);
  if (status != 0) throw Error(code_of(status), sentence(text, words[0]));
  return text;
}

std::string shell_line(const std::vector<std::string>& words) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./,:+@%";
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

}  // namespace blip::cli
