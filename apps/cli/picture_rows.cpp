#include "apps/cli/picture_rows.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "apps/cli/picture_reader.h"
#include "apps/cli/stop.h"
#include "blip/image/image_processor.h"

namespace blip::cli {
namespace {

constexpr std::size_t kMostAhead = 16;  // 1.8 MB each, at 384 x 384

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

EncodedImage encode(const FloatBuffer& pixel_values, const Engine& engine, const Context& context) {
  const ImageProcessorConfig& size = engine.image_processor().config();
  return engine.encode_pixel_values(pixel_values.span(), size.height, size.width, context);
}

PictureRow to_row(const PictureInput& input, ReadPicture picture, const PictureFlags& flags,
                  const Engine& engine) {
  PictureRow row;
  row.subject = {{"path", input.name}};
  row.label = input.name;
  row.error = std::move(picture.error);
  if (row.error) return row;
  try {
    row.image = encode(picture.pixel_values[0], engine, flags.context());
    if (flags.second)
      row.second_image = encode(picture.pixel_values[1], *flags.second, flags.context());
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

StageSeconds for_each_batch(
    const PictureFlags& flags, std::span<const PictureInput> inputs, const Engine& engine,
    const std::function<void(std::span<PictureRow> rows, Progress& progress)>& take) {
  Progress progress(inputs.size());
  std::vector<const ImageProcessor*> processors = {&engine.image_processor()};
  if (flags.second) processors.push_back(&flags.second->image_processor());
  PictureReader reader(inputs, flags.image.options, std::move(processors),
                       std::min(flags.batch_size, kMostAhead), flags.context());
  StageSeconds sum;
  for (std::size_t done = 0; done < inputs.size();) {
    const std::size_t end = std::min(done + flags.batch_size, inputs.size());
    std::vector<PictureRow> rows;
    while (done < end) {
      const double asked = seconds();
      ReadPicture picture = reader.next();
      const double read = seconds();
      sum.decode += picture.decode_seconds;
      sum.preprocess += picture.preprocess_seconds;
      rows.push_back(to_row(inputs[done++], std::move(picture), flags, engine));
      sum.wait += read - asked;
      sum.vision += seconds() - read;
      progress.update(done);
    }
    take(rows, progress);
  }
  return sum;
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
