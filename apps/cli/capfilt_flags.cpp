#include "apps/cli/capfilt_flags.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "blip/base/error.h"

namespace blip::cli {
namespace {

/// Throws Error{usage} unless a model is either named or left out.
void require_one(bool named, bool left_out, const std::string& part) {
  if (named != left_out) return;
  throw Error(ErrorCode::usage,
              named ? "--" + part + " and --no-" + part + " cannot be given together"
                    : "name a checkpoint with --" + part + ", or leave it out with --no-" + part);
}

}  // namespace

void CapFiltFlags::add_to(CLI::App& command) {
  add_files(command);
  add_models(command);
  add_rule(command);
  image.add_to(command);
  add_writing(command);
}

CapFiltFiles CapFiltFlags::files() const {
  if (paths.size() < 2)
    throw Error(ErrorCode::usage, "IN and OUT are required: what to read, and what to write");
  CapFiltFiles files = files_;
  files.in.assign(paths.begin(), paths.end() - 1);
  files.out = paths.back();
  return files;
}

CapFiltShard CapFiltFlags::shard() const {
  if (shard_.empty()) return {};
  unsigned long index = 0, count = 0;
  int read = 0;
  const bool form = std::sscanf(shard_.c_str(), "%9lu/%9lu%n", &index, &count, &read) == 2;
  if (!form || static_cast<std::size_t>(read) != shard_.size() || index >= count) {
    throw Error(
        ErrorCode::usage,
        "--shard takes I/N with I from 0 to N - 1, such as 0/4, but got " + in_quotes(shard_));
  }
  return {index, count};
}

CapFiltEngines CapFiltFlags::load() const {
  require_one(!captioner.empty(), no_captioner, "captioner");
  require_one(!filter.empty(), no_filter, "filter");
  CapFiltEngines loaded;
  if (!no_captioner) loaded.captioner = load_engine(captioner, engines);
  if (no_filter) return loaded;
  std::error_code ignored;
  const bool same = loaded.captioner && std::filesystem::equivalent(captioner, filter, ignored);
  loaded.filter = same ? loaded.captioner : load_engine(filter, engines);
  return loaded;
}

CapFiltOptions CapFiltFlags::options(const CapFiltEngines& loaded) const {
  CapFiltOptions options = options_;
  options.captioner = loaded.captioner.has_value();
  options.filter = loaded.filter.has_value();
  options.writing = method_ == "beam" ? paper_caption_options() : nucleus_caption_options();
  GenerationConfig& generation = options.writing.generation;
  generation.num_return_sequences = captions_;
  if (method_ == "beam") generation.num_beams = std::max(generation.num_beams, captions_);
  generation_.apply_to(generation);
  if (prompt_->count() == 0 && loaded.captioner) options.prompt = capfilt_prompt(*loaded.captioner);
  return options;
}

void CapFiltFlags::add_models(CLI::App& command) {
  command.add_option(
      "--captioner", captioner,
      "checkpoint that writes texts: a Hugging Face folder or an authors' .pth file");
  command.add_option("--filter", filter,
                     "checkpoint with an ITM head that judges them; may be the same");
  no_captioner_ =
      command.add_flag("--no-captioner", no_captioner, "filter the texts that are there");
  no_filter_ = command.add_flag("--no-filter", no_filter, "keep every text");
  add_precision_option(command, engines, "both models' layers");
  command
      .add_option("--vision-heads", engines.vision_heads,
                  "attention heads of a .pth's vision encoder (default: its width / 64)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--num-threads", engines.num_threads, "threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--batch-size", batch_size,
                  "pictures whose texts are written together; results do not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
}

void CapFiltFlags::add_files(CLI::App& command) {
  command
      .add_option(
          "PATH", paths,
          "IN... OUT: what to read (folders of pictures with .txt sidecars, .jsonl, COCO's "
          ".json, WebDataset shards such as shards/{000..099}.tar or a folder of them), and "
          "last what to write, of the same kind")
      ->required();
  CLI::Option* const human =
      command
          .add_option("--human", files_.human,
                      "human-annotated sets, which are added to OUT unfiltered (may be given "
                      "several times)")
          ->allow_extra_args(false);
  command.add_option("--images", files_.images,
                     "folder that the names in IN are relative to (default: beside the file)");
  command.add_option("--human-images", files_.human_images, "the same for the names in --human")
      ->needs(human);
  command.add_option("--to", files_.kind, "what OUT is (default: of IN's kind)")
      ->check(CLI::IsMember({"tar", "folder", "jsonl", "coco"}));
  command
      .add_option("--part-size", files_.part_size,
                  "records that one worker does at a time, where IN is not in tars")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  command.add_option("--shard", shard_,
                     "I/N: do every Nth part from part I, counted from 0, as one of N workers");
}

void CapFiltFlags::add_rule(CLI::App& command) {
  command
      .add_option("--itm-threshold", options_.itm_threshold,
                  "drop texts whose probability of a match is lower")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0))
      ->excludes(no_filter_);
  command
      .add_option("--itc-threshold", options_.itc_threshold,
                  "drop texts whose cosine is lower as well (default: off)")
      ->check(CLI::Range(-1.0, 1.0))
      ->excludes(no_filter_);
}

void CapFiltFlags::add_writing(CLI::App& command) {
  command
      .add_option("--method", method_,
                  "how texts are written: nucleus sampling (p = 0.9), or beam search (3 beams)")
      ->capture_default_str()
      ->check(CLI::IsMember({"nucleus", "beam"}))
      ->excludes(no_captioner_)
      ->group("Generation");
  command.add_option("--captions", captions_, "texts that are written for each picture")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->excludes(no_captioner_)
      ->group("Generation");
  prompt_ =
      command
          .add_option("--prompt", options_.prompt,
                      "how they begin (default: \"a picture of \" for authors' checkpoints, else "
                      "none); it is no part of the text")
          ->excludes(no_captioner_)
          ->group("Generation");
  generation_.add_to(command);
}

}  // namespace blip::cli
