#include "apps/cli/picture_reader.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace blip::cli {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A quarter of the cores' number can decode large photos as fast as the others encode them.
std::size_t reading_threads(std::size_t inputs, const Context& context) {
  if (inputs < 2) return 0;  // there is nothing to read meanwhile
  const int cores = context.num_threads > 0 ? context.num_threads : available_cores();
  return std::min<std::size_t>(static_cast<std::size_t>(std::clamp(cores / 4, 1, 8)), inputs - 1);
}

}  // namespace

PictureReader::PictureReader(std::span<const PictureInput> inputs, const ImageOptions& options,
                             std::vector<const ImageProcessor*> processors, std::size_t ahead,
                             const Context& context)
    : inputs_(inputs), options_(options), processors_(std::move(processors)), context_(context) {
  const std::size_t threads = reading_threads(inputs.size(), context);
  ahead_ = threads > 0;
  places_.resize(std::max<std::size_t>(ahead, 1) + threads);
  start(threads);
}

PictureReader::~PictureReader() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void PictureReader::start(std::size_t threads) {
  try {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // Where the system gives no thread, next() reads.
  }
}

void PictureReader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    room_.wait(lock, [&] {
      return ending_ || claimed_ == inputs_.size() || claimed_ < taken_ + places_.size();
    });
    if (ending_ || claimed_ == inputs_.size()) return;
    const std::size_t mine = claimed_++;
    if (inputs_[mine].path.empty())
      continue;  // next() reads standard input, where Ctrl-C reaches it
    lock.unlock();
    ReadPicture picture = read(inputs_[mine]);
    lock.lock();
    places_[mine % places_.size()] = {std::move(picture), true};
    ready_.notify_one();
  }
}

ReadPicture PictureReader::next() {
  context_.check_stop();
  const PictureInput& input = inputs_[taken_];
  std::unique_lock lock(mutex_);
  ReadPicture picture;
  if (threads_.empty() || input.path.empty()) {
    lock.unlock();
    picture = read(input);
    lock.lock();
  } else {
    Place& place = places_[taken_ % places_.size()];
    // A stop comes by a signal, which wakes nobody.
    while (!ready_.wait_for(lock, std::chrono::milliseconds(50), [&] { return place.ready; }))
      context_.check_stop();
    picture = std::move(place.picture);
    place.ready = false;
  }
  ++taken_;
  lock.unlock();
  room_.notify_one();
  if (picture.error && picture.error->code() == ErrorCode::cancelled) throw *picture.error;
  return picture;
}

ReadPicture PictureReader::read(const PictureInput& input) const {
  ReadPicture picture;
  try {
    prepare(input, picture);
  } catch (const Error& e) {
    picture.error = std::make_unique<Error>(e);
  } catch (const std::bad_alloc&) {
    picture.error = std::make_unique<Error>(ErrorCode::too_large, input.name + ": out of memory");
  } catch (const std::exception& e) {
    picture.error = std::make_unique<Error>(ErrorCode::internal, input.name + ": " + e.what());
  }
  return picture;
}

void PictureReader::prepare(const PictureInput& input, ReadPicture& picture) const {
  auto start = std::chrono::steady_clock::now();
  const Image image = load_input(input, options_);
  picture.decode_seconds = seconds_since(start);
  start = std::chrono::steady_clock::now();
  // Ahead of the model, whose cores these are, one thread is enough.
  const ThreadScope threads(ahead_ ? Context{1, context_.stop} : context_);
  for (const ImageProcessor* processor : processors_) {
    const ImageProcessorConfig& size = processor->config();
    FloatBuffer pixel_values(3 * static_cast<std::size_t>(size.height) *
                             static_cast<std::size_t>(size.width));
    processor->process(image, pixel_values.data());
    picture.pixel_values.push_back(std::move(pixel_values));
  }
  picture.preprocess_seconds = seconds_since(start);
}

}  // namespace blip::cli
