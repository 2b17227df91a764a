#include "apps/cli/eval_run.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/image/image_processor.h"

namespace blip::cli {
namespace {

/// FNV-1a: tells two files or models apart, and protects against nothing else.
class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
      value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3u;
  }
  void add(const std::string& text) { add(std::as_bytes(std::span(text.data(), text.size() + 1))); }
  std::string text() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value_));
    return digits;
  }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325u;
};

/// Of names, shapes and the beginning of every tensor: enough to tell models apart without reading
/// gigabytes.
std::string fingerprint(const Engine& engine) {
  constexpr std::size_t kBytes = 4096;
  Fingerprint print;
  for (const auto& [name, tensor] : engine.checkpoint().tensors.tensors()) {
    print.add(name + to_string(tensor.shape) + std::string(blip::name(tensor.dtype)));
    print.add(tensor.bytes.first(std::min(kBytes, tensor.bytes.size())));
  }
  return print.text();
}

std::string fingerprint(const std::filesystem::path& file) {
  Fingerprint print;
  print.add(MappedFile::open(file)->bytes());
  return print.text();
}

Json run_of(const EvalFlags& flags, const Engine& engine, const std::string& task,
            const Json& options, std::span<const std::filesystem::path> inputs) {
  const ImageProcessorConfig& size = engine.image_processor().config();
  Json run = {{"blip_eval", 1}, {"task", task}, {"model", fingerprint(engine)}};
  run["precision"] = name(engine.precision());
  run["options"] = options;
  run["image_size"] = {size.height, size.width};
  run["image_options"] = {flags.image.options.exif_orientation,
                          static_cast<int>(flags.image.options.alpha)};
  run["inputs"] = Json::array();
  for (const std::filesystem::path& input : inputs) run["inputs"].push_back(fingerprint(input));
  std::error_code ignored;
  run["images"] = std::filesystem::weakly_canonical(flags.images, ignored).string();
  return Json::parse(dump(run));  // as it is read back
}

}  // namespace

void EvalFlags::add_to(CLI::App& command, const std::string& form) {
  command.add_option("-a,--annotations", annotations, "what people said: the file to compare with")
      ->required();
  command.add_option("--results", results,
                     "score this file of results (" + form + "); no model is needed");
  command.add_option("--images", images, "run the model over the pictures of this folder");
  command.add_option(
      "-o,--output", output,
      "with --images: the file of results to write. What is done stands in OUTPUT.journal until "
      "all is: the same command goes on where it was stopped");
  command.add_option("--metrics", metrics, "also write the metrics to this file, as JSON");
  command.add_option("--format", format, "how metrics are printed: text, json or jsonl (one line)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Format>{{"text", Format::text},
                                                                        {"json", Format::json},
                                                                        {"jsonl", Format::jsonl}})
                      .description("{text,json,jsonl}"));
  command.add_option("--batch-size", batch_size, "texts that are written or judged together")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  model.add_to(command);
  image.add_to(command);
}

bool EvalFlags::runs_model() const {
  if (results.empty() == images.empty()) {
    throw Error(ErrorCode::usage, "either --results or --images is needed");
  }
  if (images.empty() != output.empty()) {
    throw Error(ErrorCode::usage,
                images.empty() ? "--output is for --images" : "--images needs --output");
  }
  std::error_code ignored;
  if (!images.empty() && !std::filesystem::is_directory(images, ignored)) {
    throw Error(ErrorCode::not_found, "--images " + images + " is not a folder");
  }
  return !images.empty();
}

EvalRun::EvalRun(const EvalFlags& flags, Engine engine, const std::string& task,
                 const Json& options, std::span<const std::filesystem::path> inputs)
    : journal_name_(flags.output + ".journal"),
      context_{flags.model.options.num_threads, &stop_requested()},
      pictures_(engine, flags.images, flags.image.options),
      journal_(journal_name_, run_of(flags, engine, task, options, inputs)),
      rows_(journal_.rows()) {}

std::vector<std::size_t> EvalRun::open_items(std::size_t count,
                                             const std::function<Json(std::size_t)>& id_of) const {
  std::unordered_set<std::string> done;
  for_each_row([&](const Json& row) {
    if (!row.at("value").is_null()) done.insert(row.at("id").dump());
  });
  std::vector<std::size_t> items;
  for (std::size_t i = 0; i < count; ++i) {
    if (!done.contains(id_of(i).dump())) items.push_back(i);
  }
  return items;
}

void EvalRun::run(std::span<const std::size_t> items, std::size_t batch,
                  const std::function<void(std::size_t)>& prepare,
                  const std::function<std::vector<Json>()>& answer) {
  Progress progress(items.size());
  for (std::size_t done = 0; done < items.size();) {
    const std::size_t end = std::min(done + batch, items.size());
    for (; done < end; ++done) {
      context_.check_stop();
      try {
        prepare(items[done]);
      } catch (const Error& e) {
        if (e.code() == ErrorCode::cancelled) throw;
        progress.clear();
        std::fprintf(stderr, "blip: %s\n", e.what());
        ++failed_;
      }
      progress.update(done);
    }
    for (Json& row : answer()) {
      journal_.append(row);
      rows_.push_back(std::move(row));
    }
  }
}

void EvalRun::for_each_row(const std::function<void(const Json&)>& take) const {
  const auto refuse = [this](const std::exception& e) {
    throw Error(ErrorCode::io,
                journal_name_ + " holds a row that is none of this task's: " + in_quotes(e.what()));
  };
  for (const Json& row : rows_) {
    try {
      take(row);
    } catch (const Json::exception& e) {
      refuse(e);
    } catch (const std::out_of_range& e) {
      refuse(e);
    }
  }
}

Json to_json(const GenerationConfig& generation) {
  Json json;
  for_each_field(generation, [&](const char* field, const auto& value, const char*) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, std::optional<int>>) {
      json[field] = value ? Json(*value) : Json();
    } else {
      json[field] = value;
    }
  });
  json["semantics"] = generation.semantics;
  return json;
}

void publish(const EvalReport& report, const EvalFlags& flags) {
  print_report(report, flags.format);
  if (!flags.metrics.empty()) write_report(report, flags.metrics);
}

}  // namespace blip::cli
