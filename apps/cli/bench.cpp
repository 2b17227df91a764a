#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/stop.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/image/image_processor.h"
#include "blip/model/blip.h"
#include "blip/ops/isa.h"
#include "blip/ops/peak.h"

namespace blip::cli {
namespace {

struct BenchFlags {
  std::string picture;
  ModelFlags model;
  int runs = 5;
  int tokens = 20;
  int sequences = 1;
  Format format = Format::text;
};

/// One row of the table: what a part took, and how much it computed and read.
struct Part {
  std::string name;
  double seconds = 0;     ///< median
  double operations = 0;  ///< 0: not counted
  double bytes = 0;       ///< of weights; 0: not counted
};

double median_seconds(int runs, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + runs / 2, seconds.end());
  return seconds[static_cast<std::size_t>(runs / 2)];
}

/// Multiply-adds count as two operations.
double vision_operations(const VisionConfig& v, double tokens) {
  const double d = v.hidden_size, i = v.intermediate_size;
  const double patch = 3.0 * v.patch_size * v.patch_size;
  return 2 * tokens * (v.num_hidden_layers * (4 * d * d + 2 * d * i + 2 * tokens * d) + patch * d);
}

double cross_operations(const TextConfig& t, double tokens) {
  return 2.0 * tokens * t.num_hidden_layers * 2 * t.hidden_size * t.encoder_hidden_size;
}

/// Weights that decoding one token reads, and its multiply-adds.
double decoder_weights(const TextConfig& t) {
  const double d = t.hidden_size;
  return t.num_hidden_layers * (6 * d * d + 2 * d * t.intermediate_size) + d * d + d * t.vocab_size;
}

class Bench {
 public:
  explicit Bench(const BenchFlags& flags)
      : flags_(flags),
        engine_(flags.model.load()),
        context_{flags.model.options.num_threads, &stop_requested()} {}

  std::vector<Part> run() {
    picture_parts();
    vision_part();
    if (engine_.model().config().writes_captions()) decoder_parts();
    return std::move(parts_);
  }

  const Engine& engine() const { return engine_; }
  const Context& context() const { return context_; }

 private:
  void add(const std::string& name, double operations, double bytes,
           const std::function<void()>& work) {
    context_.check_stop();
    parts_.push_back({name, median_seconds(flags_.runs, work), operations, bytes});
  }

  void picture_parts() {
    const ImageProcessorConfig& size = engine_.image_processor().config();
    pixel_values_.resize(3 * static_cast<std::size_t>(size.height) *
                         static_cast<std::size_t>(size.width));
    if (flags_.picture.empty()) return;
    const PictureInput input{flags_.picture, flags_.picture};
    add("decode picture", 0, 0, [&] { image_ = load_input(input, {}); });
    add("preprocess", 0, 0,
        [&] { engine_.image_processor().process(image_, pixel_values_.data()); });
  }

  void vision_part() {
    const VisionEncoder& vision = engine_.model().vision();
    const ImageProcessorConfig& size = engine_.image_processor().config();
    tokens_ = static_cast<std::size_t>(vision.num_tokens(size.height, size.width));
    image_embeds_.resize(tokens_ * static_cast<std::size_t>(vision.config().hidden_size));
    add("vision encoder", vision_operations(vision.config(), static_cast<double>(tokens_)), 0,
        [&] { vision.forward(pixel_values_, size.height, size.width, image_embeds_, context_); });
  }

  void decoder_parts() {
    const TextDecoder& decoder = engine_.model().text_decoder();
    const TextConfig& text = decoder.config();
    CrossKeysValues keys_values;
    add("cross keys and values", cross_operations(text, static_cast<double>(tokens_)), 0,
        [&] { keys_values = decoder.attend_to(image_embeds_, tokens_, context_); });

    const auto sequences = static_cast<std::size_t>(flags_.sequences);
    const int token = text.bos_token_id;
    std::vector<float> logits(sequences * static_cast<std::size_t>(text.vocab_size));
    const double weights = decoder_weights(text);
    constexpr double kBytes[] = {4, 2, 1};
    add("per step of " + std::to_string(sequences) + " sequence" + (sequences > 1 ? "s" : ""),
        2 * weights * flags_.sequences,
        weights * kBytes[static_cast<std::size_t>(engine_.precision())], [&] {
          DecoderState state(text);
          for (int t = 0; t < flags_.tokens; ++t) {
            std::vector<DecoderRow> rows;
            for (int s = 0; s < flags_.sequences; ++s) {
              rows.push_back({t == 0 ? -1 : s, {&token, 1}, &keys_values});
            }
            decoder.step(state, rows, logits, context_);
          }
        });
    parts_.back().seconds /= flags_.tokens;
  }

  const BenchFlags& flags_;
  Engine engine_;
  Context context_;
  std::vector<Part> parts_;
  Image image_;
  std::vector<float> pixel_values_;
  std::vector<float> image_embeds_;
  std::size_t tokens_ = 0;
};

void print(const std::vector<Part>& parts, double peak, double bandwidth) {
  std::printf("%-26s %10s %10s %8s %8s %8s\n", "part", "ms", "GFLOP/s", "of peak", "GB/s",
              "of peak");
  for (const Part& part : parts) {
    std::printf("%-26s %10.2f", part.name.c_str(), part.seconds * 1e3);
    if (part.operations > 0) {
      const double rate = part.operations / part.seconds;
      std::printf(" %10.1f %7.0f%%", rate / 1e9, 100 * rate / peak);
    }
    if (part.bytes > 0) {
      const double rate = part.bytes / part.seconds;
      std::printf(" %8.1f %7.0f%%", rate / 1e9, 100 * rate / bandwidth);
    }
    std::printf("\n");
  }
}

void run(const BenchFlags& flags) {
  install_stop_handler();
  Bench bench(flags);
  const std::vector<Part> parts = bench.run();
  const Precision precision = bench.engine().precision();
  const double peak = measured_operations(precision, bench.context());
  const double bandwidth = measured_bandwidth(bench.context());
  const int threads =
      flags.model.options.num_threads > 0 ? flags.model.options.num_threads : available_cores();
  if (flags.format == Format::text) {
    std::printf("%s, %s, %d threads; peak: %.0f GFLOP/s in registers, %.1f GB/s from memory\n\n",
                std::string(name(precision)).c_str(), std::string(name(active_isa())).c_str(),
                threads, peak / 1e9, bandwidth / 1e9);
    return print(parts, peak, bandwidth);
  }
  Json rows = Json::array();
  for (const Part& part : parts) {
    rows.push_back({{"part", part.name},
                    {"seconds", part.seconds},
                    {"operations", part.operations},
                    {"bytes", part.bytes}});
  }
  const Json document = {{"precision", name(precision)},
                         {"isa", name(active_isa())},
                         {"threads", threads},
                         {"peak_operations_per_second", peak},
                         {"bytes_per_second", bandwidth},
                         {"parts", std::move(rows)}};
  std::printf("%s\n", document.dump(flags.format == Format::json ? 2 : -1).c_str());
}

}  // namespace

void add_bench_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("bench", "Time the parts of a model on this machine, beside its peak");
  const auto flags = std::make_shared<BenchFlags>();
  command->add_option("PICTURE", flags->picture,
                      "picture to decode and preprocess (default: these parts are left out)");
  flags->model.add_to(*command);
  command->add_option("--runs", flags->runs, "runs of each part; the median is shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--tokens", flags->tokens, "tokens to decode in a run")
      ->capture_default_str()
      ->check(CLI::Range(1, 500));
  command
      ->add_option("--sequences", flags->sequences,
                   "sequences decoded together, such as beams or prompts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  add_format_flag(*command, flags->format);
  command->callback([flags] { run(*flags); });
}

}  // namespace blip::cli
