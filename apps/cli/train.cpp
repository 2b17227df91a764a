#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/child.h"
#include "apps/cli/commands.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

/// Becomes the trainer, a program of its own, so that this one stays free of libtorch.
[[noreturn]] void become_trainer(std::vector<std::string> words) {
  std::string name = find_trainer().string();
  std::vector<char*> arguments = {name.data()};
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(name.c_str(), arguments.data());
  throw Error(ErrorCode::io, "cannot start " + name + ": " + std::strerror(errno));
}

}  // namespace

void add_train_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("train", "Train BLIP: pretrain, caption, retrieval, vqa, nlvr");
  command->set_help_flag();  // the trainer's own help is shown
  command->prefix_command();
  command->callback([command] { become_trainer(command->remaining()); });
}

}  // namespace blip::cli
