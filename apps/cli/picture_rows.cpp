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

/// A row and what was read for it.
struct Waiting {
  PictureRow* row;
  const ReadPicture* picture;
};

/// Sets `image` of rows by an engine from its `which`th pixel values.
void encode(std::span<const Waiting> waiting, const Engine& engine, std::size_t which,
            EncodedImage PictureRow::*image, const Context& context) {
  const ImageProcessorConfig& size = engine.image_processor().config();
  std::vector<std::span<const float>> pictures;
  for (const Waiting& w : waiting) pictures.push_back(w.picture->pixel_values[which].span());
  std::vector<EncodedImage> encoded =
      engine.encode_pixel_values(pictures, size.height, size.width, context);
  for (std::size_t i = 0; i < waiting.size(); ++i) waiting[i].row->*image = std::move(encoded[i]);
}

/// Where there is no memory for all, each is tried alone.
void encode(std::span<const Waiting> waiting, const PictureFlags& flags, const Engine& engine) {
  try {
    encode(waiting, engine, 0, &PictureRow::image, flags.context());
    if (flags.second) encode(waiting, *flags.second, 1, &PictureRow::second_image, flags.context());
  } catch (const std::bad_alloc&) {
    if (waiting.size() > 1) {
      for (const Waiting& one : waiting) encode({&one, 1}, flags, engine);
      return;
    }
    PictureRow& row = *waiting.front().row;
    row.error = std::make_unique<Error>(ErrorCode::too_large, row.label + ": out of memory");
  }
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
  return {model.options.num_threads, &stop_requested()};
}

StageSeconds for_each_batch(
    const PictureFlags& flags, std::span<const PictureInput> inputs, const Engine& engine,
    const std::function<void(std::span<PictureRow> rows, Progress& progress)>& take) {
  Progress progress(inputs.size());
  std::vector<const ImageProcessor*> processors = {&engine.image_processor()};
  if (flags.second) processors.push_back(&flags.second->image_processor());
  PictureReader reader(inputs, flags.image.options, std::move(processors),
                       std::min(flags.batch_size, kMostAhead), flags.context());
  const std::size_t at_once = engine.pictures_at_once();
  StageSeconds sum;
  for (std::size_t done = 0; done < inputs.size();) {
    const std::size_t end = std::min(done + flags.batch_size, inputs.size());
    std::vector<PictureRow> rows(end - done);
    for (std::size_t begin = 0; begin < rows.size(); begin += at_once) {
      const std::size_t count = std::min(at_once, rows.size() - begin);
      const double asked = seconds();
      std::vector<ReadPicture> pictures;
      std::vector<Waiting> waiting;
      pictures.reserve(count);
      for (std::size_t i = 0; i < count; ++i) {
        const PictureInput& input = inputs[done + begin + i];
        PictureRow& row = rows[begin + i];
        ReadPicture& picture = pictures.emplace_back(reader.next());
        sum.decode += picture.decode_seconds;
        sum.preprocess += picture.preprocess_seconds;
        row.subject = {{"path", input.name}};
        row.label = input.name;
        row.error = std::move(picture.error);
        if (!row.error) waiting.push_back({&row, &picture});
      }
      const double read = seconds();
      sum.wait += read - asked;
      if (!waiting.empty()) encode(waiting, flags, engine);
      sum.vision += seconds() - read;
      progress.update(done + begin + count);
    }
    done = end;
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
