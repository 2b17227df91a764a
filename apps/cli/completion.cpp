// Completion scripts, written from the commands and options as CLI11 knows them.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/commands.h"

namespace blip::cli {
namespace {

struct Argument {
  std::vector<std::string> names;  ///< "-k", "--format"; empty: positional
  std::string description;
  bool takes_value = false;
  std::vector<std::string> choices;
};

struct Command {
  std::string path;                                              ///< "blip index build"
  std::vector<std::pair<std::string, std::string>> subcommands;  ///< names and descriptions
  std::vector<Argument> arguments;
};

std::string join(const std::vector<std::string>& words, const char* separator) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : separator) + word;
  return all;
}

/// `text` with every one of `special` behind `escape`.
std::string escaped(std::string_view text, std::string_view special, std::string_view escape) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) result += escape;
    result += c;
  }
  return result;
}

/// In single quotes, as bash and zsh read them.
std::string shell_word(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// The words of "TEXT:{enc,cls}": what an option may be.
std::vector<std::string> choices_in(const std::string& type) {
  std::vector<std::string> words;
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return words;
  std::size_t at = open + 1;
  while (at < close) {
    const std::size_t end = std::min(type.find(',', at), close);
    words.push_back(type.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& commands) {
  Command command{path, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    Argument argument;
    for (const std::string& name : option->get_snames()) argument.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) argument.names.push_back("--" + name);
    argument.description = option->get_description();
    argument.takes_value = option->get_items_expected_max() > 0;
    argument.choices = choices_in(option->get_type_name());
    command.arguments.push_back(std::move(argument));
  }
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands)
    command.subcommands.emplace_back(sub->get_name(), sub->get_description());
  commands.push_back(std::move(command));
  for (const CLI::App* sub : subcommands) collect(*sub, path + " " + sub->get_name(), commands);
}

/// Every command but the first, as alternatives of a case.
std::string paths_below(const std::vector<Command>& commands, const char* separator) {
  std::vector<std::string> paths;
  for (std::size_t i = 1; i < commands.size(); ++i) paths.push_back(shell_word(commands[i].path));
  return join(paths, separator);
}

/// What may stand where no option does.
std::vector<std::string> words_of(const Command& command) {
  std::vector<std::string> words;
  for (const auto& [name, description] : command.subcommands) words.push_back(name);
  for (const Argument& argument : command.arguments) {
    if (argument.names.empty())
      words.insert(words.end(), argument.choices.begin(), argument.choices.end());
  }
  return words;
}

std::string bash_script(const std::vector<Command>& commands) {
  std::string script =
      "# bash completion for blip; load it with: source <(blip completion bash)\n"
      "_blip() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at=blip word words=\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$at $word\" in\n      " +
      paths_below(commands, "|") +
      ") at+=\" $word\" ;;\n"
      "    esac\n  done\n"
      "  case \"$at $prev\" in\n";
  for (const Command& command : commands) {
    for (const Argument& argument : command.arguments) {
      if (argument.names.empty() || !argument.takes_value) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : argument.names)
        patterns.push_back(shell_word(command.path + " " + name));
      script += "    " + join(patterns, "|") + ") ";
      script += argument.choices.empty()
                    ? "COMPREPLY=($(compgen -f -- \"$cur\"))"
                    : "COMPREPLY=($(compgen -W " + shell_word(join(argument.choices, " ")) +
                          " -- \"$cur\"))";
      script += "; return ;;\n";
    }
  }
  script += "  esac\n  case $at in\n";
  for (const Command& command : commands) {
    std::vector<std::string> options;
    for (const Argument& argument : command.arguments)
      options.insert(options.end(), argument.names.begin(), argument.names.end());
    script += "    " + shell_word(command.path) +
              ") if [[ $cur == -* ]]; then words=" + shell_word(join(options, " ")) +
              "; else words=" + shell_word(join(words_of(command), " ")) + "; fi ;;\n";
  }
  return script +
         "  esac\n"
         "  if [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "  else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
         "}\n"
         "complete -o filenames -F _blip blip\n";
}

std::string zsh_argument(const Argument& argument) {
  const std::string value =
      argument.choices.empty() ? ":value:_files" : ":value:(" + join(argument.choices, " ") + ")";
  if (argument.names.empty()) {
    return shell_word("*" + std::string(argument.choices.empty() ? ":file:_files" : value));
  }
  const std::string rest = "[" + escaped(argument.description, "\\[]:", "\\") + "]" +
                           (argument.takes_value ? value : "");
  std::vector<std::string> specs;
  for (const std::string& name : argument.names) specs.push_back(shell_word("*" + name + rest));
  return join(specs, " ");
}

std::string zsh_script(const std::vector<Command>& commands) {
  std::string script =
      "#compdef blip\n"
      "# zsh completion for blip; load it with: source <(blip completion zsh)\n"
      "_blip() {\n"
      "  local at=blip word\n"
      "  for word in ${words[2,CURRENT-1]}; do\n"
      "    case \"$at $word\" in\n      (" +
      paths_below(commands, "|") +
      ") at=\"$at $word\" ;;\n"
      "    esac\n  done\n"
      "  case $at in\n";
  for (const Command& command : commands) {
    script += "    (" + shell_word(command.path) + ")\n";
    if (!command.subcommands.empty()) {
      std::vector<std::string> entries;
      for (const auto& [name, description] : command.subcommands)
        entries.push_back(shell_word(name + ":" + escaped(description, "\\:", "\\")));
      script += "      local -a commands=(" + join(entries, " ") + ")\n" +
                "      [[ $PREFIX == -* ]] || { _describe command commands; return; }\n";
    }
    std::vector<std::string> specs;
    bool positional = false;
    for (const Argument& argument : command.arguments) {
      if (argument.names.empty() && positional) continue;  // zsh takes one rule for the rest
      positional = positional || argument.names.empty();
      specs.push_back(zsh_argument(argument));
    }
    script += "      _arguments -s " + join(specs, " ") + " ;;\n";
  }
  return script + "  esac\n}\ncompdef _blip blip\n";
}

std::string fish_word(std::string_view text) {
  return "'" + escaped(text, "\\'", "\\") + "'";
}

std::string fish_script(const std::vector<Command>& commands) {
  std::string script =
      "# fish completion for blip; load it with: blip completion fish | source\n"
      "function __blip_at\n"
      "  set -l at blip\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$at $word\"\n"
      "      case " +
      paths_below(commands, " ") +
      "\n        set at \"$at $word\"\n"
      "    end\n  end\n"
      "  test \"$at\" = \"$argv\"\n"
      "end\n";
  for (const Command& command : commands) {
    const std::string start = "complete -c blip -n '__blip_at " + command.path + "' ";
    for (const auto& [name, description] : command.subcommands)
      script += start + "-f -a " + name + " -d " + fish_word(description) + "\n";
    for (const Argument& argument : command.arguments) {
      std::string line = start;
      for (const std::string& name : argument.names) {
        line +=
            name.starts_with("--") ? "-l " + name.substr(2) + " " : "-s " + name.substr(1) + " ";
      }
      if (argument.names.empty() && argument.choices.empty()) continue;  // files, as by default
      if (argument.takes_value && !argument.names.empty()) line += "-r ";
      if (!argument.choices.empty())
        line += "-f -a " + fish_word(join(argument.choices, " ")) + " ";
      script += line + "-d " + fish_word(argument.description) + "\n";
    }
  }
  return script;
}

using Script = std::string (*)(const std::vector<Command>&);
const std::map<std::string, Script> kShells = {
    {"bash", bash_script}, {"fish", fish_script}, {"zsh", zsh_script}};

}  // namespace

void add_completion_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "completion",
      "Write a script that lets a shell complete this program's commands and options");
  const auto shell = std::make_shared<std::string>();
  std::vector<std::string> names;
  for (const auto& [name, script] : kShells) names.push_back(name);
  command->add_option("SHELL", *shell, "the shell: bash, fish or zsh")
      ->required()
      ->check(CLI::IsMember(names));
  command->callback([&app, shell] {
    std::vector<Command> commands;
    collect(app, app.get_name(), commands);
    std::fputs(kShells.at(*shell)(commands).c_str(), stdout);
  });
}

}  // namespace blip::cli
