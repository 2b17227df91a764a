#include "train/run/configuration.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr int kMaxDepth = 8;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::usage, message);
}

std::string text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

/// Edits that turn one text into the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

/// The key that was likely meant; one with the same last part counts as near.
std::string nearest(const std::vector<Field>& all, std::string_view wrong) {
  const auto last_part = [](std::string_view name) { return name.substr(name.rfind('.') + 1); };
  const auto far = [&](const Field& field) {
    return std::min(distance(field.name, wrong),
                    distance(last_part(field.name), last_part(wrong)) + 1);
  };
  const auto found = std::min_element(
      all.begin(), all.end(), [&](const Field& a, const Field& b) { return far(a) < far(b); });
  return std::string(found->name);
}

/// Sets values from YAML and remembers where each came from.
class Reader {
 public:
  Configuration configuration;

  void read_file(const fs::path& file, int depth = 0) {
    if (depth == kMaxDepth) fail(file.string() + " extends itself, or too many others");
    const std::string text = blip::read_file(file, kMaxBytes);
    const YAML::Node root = parse(text, file.string());
    if (root.IsNull()) return;
    if (!root.IsMap()) fail(file.string() + " should hold keys and values");
    if (const YAML::Node base = root["extends"]; base.IsDefined()) {
      if (!base.IsScalar()) fail(at(base, file.string()) + ": extends should name one file");
      read_file(file.parent_path() / base.Scalar(), depth + 1);
    }
    std::set<std::string> seen;
    take(root, "", file.string(), seen);
  }

  void read_override(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(in_quotes(text) + " should be key=value");
    }
    const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
    // A text needs no quotes here, whatever stands in it.
    Field& field = find(key, "key");
    if (auto* const* into = std::get_if<std::string*>(&field.value);
        into != nullptr && !value.starts_with('"') && !value.starts_with('\'')) {
      **into = value;
      return;
    }
    set(field, parse(value, key), "key");
  }

 private:
  static YAML::Node parse(const std::string& text, const std::string& where) {
    try {
      return YAML::Load(text);
    } catch (const YAML::Exception& e) {
      fail(where + " is not valid YAML: " + e.what());
    }
  }

  static std::string at(const YAML::Node& node, const std::string& file) {
    return "line " + std::to_string(node.Mark().line + 1) + " of " + file;
  }

  void take(const YAML::Node& map, const std::string& prefix, const std::string& file,
            std::set<std::string>& seen) {
    for (const auto& entry : map) {
      const std::string where = at(entry.first, file);
      if (!entry.first.IsScalar()) fail(where + " should begin with a key");
      const std::string name = prefix + entry.first.Scalar();
      if (name == "extends") continue;
      if (std::count(name.begin(), name.end(), '.') > 2)
        fail(where + ": " + in_quotes(name) + " nests too deep");
      if (entry.second.IsMap()) {
        take(entry.second, name + ".", file, seen);
        continue;
      }
      if (!seen.insert(name).second) fail(where + " sets " + in_quotes(name) + " again");
      set(find(name, where), entry.second, where);
    }
  }

  Field& find(const std::string& name, const std::string& where) {
    const auto found = std::find_if(fields_.begin(), fields_.end(),
                                    [&](const Field& field) { return field.name == name; });
    if (found == fields_.end()) {
      fail(where + " " + in_quotes(name) + " is unknown; " + in_quotes(nearest(fields_, name)) +
           " is the nearest (blip-train --keys lists all)");
    }
    return *found;
  }

  /// Throws Error{usage} for a value of another type.
  void set(Field& field, const YAML::Node& node, const std::string& where) {
    const auto wrong = [&](const char* expected) {
      const std::string came = node.IsScalar() ? in_quotes(node.Scalar())
                               : node.IsNull() ? "nothing"
                               : node.IsMap()  ? "keys"
                                               : "a list";
      fail(where + " " + in_quotes(field.name) + " should be " + expected + ", but is " + came);
    };
    std::visit([&](auto* value) { read_value(node, *value, wrong); }, field.value);
  }

  template <class Wrong>
  static void read_value(const YAML::Node& node, bool& value, const Wrong& wrong) {
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value)) wrong("true or false");
  }

  template <class Wrong>
  static void read_value(const YAML::Node& node, std::int64_t& value, const Wrong& wrong) {
    if (!node.IsScalar() || !YAML::convert<std::int64_t>::decode(node, value)) {
      wrong("a whole number");
    }
  }

  template <class Wrong>
  static void read_value(const YAML::Node& node, int& value, const Wrong& wrong) {
    if (!node.IsScalar() || !YAML::convert<int>::decode(node, value)) wrong("a whole number");
  }

  template <class Wrong>
  static void read_value(const YAML::Node& node, double& value, const Wrong& wrong) {
    double number = 0;
    if (!node.IsScalar() || !YAML::convert<double>::decode(node, number) ||
        !std::isfinite(number)) {
      wrong("a number");
    }
    value = number;
  }

  template <class Wrong>
  static void read_value(const YAML::Node& node, std::string& value, const Wrong& wrong) {
    if (!node.IsScalar()) wrong("a text");
    value = node.Scalar();
  }

  /// A list, or its only element.
  template <class T, class Wrong>
  static void read_value(const YAML::Node& node, std::vector<T>& values, const Wrong& wrong) {
    values.clear();
    if (node.IsScalar()) {
      read_value(node, values.emplace_back(), wrong);
    } else if (node.IsSequence()) {
      for (const auto& element : node) read_value(element, values.emplace_back(), wrong);
    } else if (!node.IsNull()) {
      wrong("a list");
    }
  }

  std::vector<Field> fields_ = fields(configuration);
};

/// Ranges of numbers, by key; "least" itself may stand.
struct Range {
  std::string_view key;
  double least, most;
};

constexpr double kAny = std::numeric_limits<double>::max();
constexpr Range kRanges[] = {
    {"threads", 0, 4096},
    {"model.image_size", 0, 4096},
    {"model.patch_size", 1, 4096},
    {"model.vision_width", 1, 16384},
    {"model.vision_layers", 1, 512},
    {"model.vision_heads", 1, 1024},
    {"model.text_width", 1, 16384},
    {"model.text_layers", 1, 512},
    {"model.text_heads", 1, 1024},
    {"model.text_positions", 2, 1 << 20},
    {"model.projection", 1, 16384},
    {"model.dropout", 0, 0.99},
    {"model.drop_path", 0, 0.99},
    {"model.vision_checkpoint_layers", 0, 512},
    {"model.text_checkpoint_layers", 0, 512},
    {"model.lora_rank", 0, 16384},
    {"loss.alpha", 0, 1},
    {"loss.alpha_ramp_epochs", 0, kAny},
    {"loss.momentum", 0, 1},
    {"loss.temperature", 0.001, 0.5},
    {"loss.queue_size", 0, 1 << 24},
    {"loss.label_smoothing", 0, 0.99},
    {"data.max_words", 1, 100000},
    {"data.text_length", 3, 1 << 20},
    {"data.threads", 0, 1024},
    {"data.prefetch", 1, 1024},
    {"data.shuffle_buffer", 1, 1 << 24},
    {"data.samples_per_epoch", 0, kAny},
    {"data.max_bad_share", 0, 1},
    {"augment.crop_scale_min", 1e-4, 1},
    {"augment.crop_ratio", 1, 100},
    {"augment.operations", 0, 100},
    {"augment.level", 0, 10},
    {"augment.affine", 0, 1},
    {"augment.blur", 0, 1},
    {"optim.batch_size", 1, 1 << 20},
    {"optim.accumulation", 1, 1 << 20},
    {"optim.epochs", 1, kAny},
    {"optim.max_steps", 0, kAny},
    {"optim.lr", 0, 10},
    {"optim.min_lr", 0, 10},
    {"optim.decay_rate", 0, 1},
    {"optim.warmup_steps", 0, kAny},
    {"optim.warmup_lr", 0, 10},
    {"optim.weight_decay", 0, 10},
    {"optim.beta1", 0, 0.9999999},
    {"optim.beta2", 0, 0.9999999},
    {"optim.eps", 0, 1},
    {"optim.clip", 0, kAny},
    {"save.every_steps", 0, kAny},
    {"save.keep", 1, 1000000},
    {"log.every", 1, kAny},
    {"log.samples", 0, 1000},
    {"distributed.timeout", 1, 1e6},
};

struct Choice {
  std::string_view key;
  std::vector<std::string_view> allowed;
};

const Choice kChoices[] = {
    {"precision", {"f32", "bf16"}},
    {"optim.schedule", {"cosine", "step", "constant"}},
    {"optim.per", {"epoch", "step"}},
    {"distributed.backend", {"auto", "gloo", "nccl"}},
    {"save.layouts", {"hugging_face", "authors"}},
};

void check_number(const Field& field, double value) {
  for (const Range& range : kRanges) {
    if (range.key != field.name || (value >= range.least && value <= range.most)) continue;
    const std::string most = range.most == kAny ? "" : " and at most " + text(range.most);
    fail(in_quotes(field.name) + " is " + to_text(field) + "; it should be at least " +
         text(range.least) + most);
  }
}

void check_choice(const Field& field, const std::string& value) {
  for (const Choice& choice : kChoices) {
    if (choice.key != field.name) continue;
    std::string all;
    for (const std::string_view allowed : choice.allowed) {
      if (allowed == value) return;
      all += (all.empty() ? "" : ", ") + std::string(allowed);
    }
    fail(in_quotes(field.name) + " is " + in_quotes(value) + "; it can be: " + all);
  }
}

/// What can be said of a value alone.
struct Check {
  const Field& field;
  void operator()(const bool*) const {}
  void operator()(const int* value) const { check_number(field, *value); }
  void operator()(const std::int64_t* value) const {
    check_number(field, static_cast<double>(*value));
  }
  void operator()(const double* value) const { check_number(field, *value); }
  void operator()(const std::string* value) const { check_choice(field, *value); }
  void operator()(const Texts* values) const {
    for (const std::string& value : *values) check_choice(field, value);
  }
  void operator()(const std::vector<double>*) const {}
};

void check_lists(const DataOptions& data) {
  const std::size_t sources = data.train.size();
  if (data.images.size() > 1 && data.images.size() != sources) {
    fail("\"data.images\" has " + std::to_string(data.images.size()) + " folders for " +
         std::to_string(sources) + " of \"data.train\"; give one, or one for each");
  }
  if (!data.repeat.empty() && data.repeat.size() != sources) {
    fail("\"data.repeat\" has " + std::to_string(data.repeat.size()) + " numbers for " +
         std::to_string(sources) + " of \"data.train\"");
  }
  for (const double times : data.repeat) {
    if (!(times >= 0) || times > 10000) fail("\"data.repeat\" should hold numbers from 0 to 10000");
  }
}

void check(Configuration& configuration) {
  for (const Field& field : fields(configuration)) std::visit(Check{field}, field.value);
  check_lists(configuration.data);
  const std::string& device = configuration.device;
  if (device != "cpu" && device != "cuda" && !device.starts_with("cuda:")) {
    fail("\"device\" is " + in_quotes(device) + "; it can be cpu, cuda or cuda:N");
  }
}

}  // namespace

Configuration read_configuration(const fs::path& file, std::span<const std::string> overrides) {
  Reader reader;
  reader.read_file(file);
  for (const std::string& text : overrides) reader.read_override(text);
  check(reader.configuration);
  return reader.configuration;
}

}  // namespace blip::train
