#include "apps/cli/picture_rows.h"

#include <algorithm>
#include <new>
#include <utility>

#include "apps/cli/stop.h"

namespace blip::cli {
namespace {

PictureRow encode(const PictureInput& input, const PictureFlags& flags, const Engine& engine) {
  PictureRow row;
  row.subject = {{"path", input.name}};
  row.label = input.name;
  try {
    Image image = load_input(input, flags.image.options);
    row.image = engine.encode({&image, 1}, flags.context()).front();
    if (flags.keep_pixels) row.pixels = std::move(image);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) throw;
    row.error = std::make_unique<Error>(e);
  } catch (const std::bad_alloc&) {
    row.error = std::make_unique<Error>(ErrorCode::too_large, input.name + ": out of memory");
  }
  return row;
}

}  // namespace

CLI::Option* PictureFlags::add_to(CLI::App& command) {
  CLI::Option* option =
      command
          .add_option("PATH", paths,
                      "picture files, folders of them, or - for a picture on standard input (URLs "
                      "are not fetched)")
          ->required();
  command.add_flag("-r,--recursive", recursive, "read folders below the named ones too");
  command.add_option("--batch-size", batch_size, "pictures whose texts are computed together")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  model.add_to(command);
  image.add_to(command);
  return option;
}

Context PictureFlags::context() const {
  return {model.num_threads, &stop_requested()};
}

void for_each_batch(
    const PictureFlags& flags, std::span<const PictureInput> inputs, const Engine& engine,
    const std::function<void(std::span<PictureRow> rows, Progress& progress)>& take) {
  Progress progress(inputs.size());
  for (std::size_t done = 0; done < inputs.size();) {
    const std::size_t end = std::min(done + flags.batch_size, inputs.size());
    std::vector<PictureRow> rows;
    while (done < end) {
      flags.context().check_stop();
      rows.push_back(encode(inputs[done++], flags, engine));
      progress.update(done);
    }
    take(rows, progress);
  }
}

int write_rows(const PictureFlags& flags, std::span<const PictureInput> inputs,
               const Engine& engine, Format format,
               const std::function<void(std::span<PictureRow* const>)>& find_out) {
  const bool show_paths = inputs.size() > 1 || inputs.front().name != flags.paths.front();
  RowWriter writer(format, show_paths);
  try {
    for_each_batch(flags, inputs, engine, [&](std::span<PictureRow> rows, Progress& progress) {
      std::vector<PictureRow*> decoded;
      for (PictureRow& row : rows) {
        if (!row.error) decoded.push_back(&row);
      }
      find_out(decoded);
      progress.clear();
      for (const PictureRow& row : rows) writer.write(row);
    });
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) writer.finish();
    throw;
  }
  writer.finish();
  return writer.status();
}

}  // namespace blip::cli
