#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "apps/cli/inputs.h"
#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/tensor.h"
#include "blip/image/image_processor.h"

namespace blip::cli {

/// A picture as a model sees it, or the reason why it cannot be.
struct ReadPicture {
  std::vector<FloatBuffer> pixel_values;  ///< [3, height, width], one for each image processor
  std::unique_ptr<Error> error;           ///< instead
  double decode_seconds = 0;
  double preprocess_seconds = 0;
};

/// Reads, decodes and prepares pictures on threads of its own, a few ahead of the model, which so
/// never waits for a file. How many are ahead is bounded; their memory is that of pixel_values,
/// and of one decoded picture for each thread.
class PictureReader {
 public:
  /// `processors`: of each model that looks at the pictures. `ahead`: how many may be ready.
  PictureReader(std::span<const PictureInput> inputs, const ImageOptions& options,
                std::vector<const ImageProcessor*> processors, std::size_t ahead,
                const Context& context);
  /// Waits until the pictures that are being read are done with.
  ~PictureReader();
  PictureReader(const PictureReader&) = delete;
  PictureReader& operator=(const PictureReader&) = delete;

  /// The next of the inputs, as often as there are inputs. Waits for it. Throws Error{cancelled}.
  ReadPicture next();

 private:
  struct Place {
    ReadPicture picture;
    bool ready = false;
  };

  void start(std::size_t threads);
  void work();
  ReadPicture read(const PictureInput& input) const;
  void prepare(const PictureInput& input, ReadPicture& picture) const;

  std::span<const PictureInput> inputs_;
  const ImageOptions& options_;
  std::vector<const ImageProcessor*> processors_;
  Context context_;
  bool ahead_ = false;  ///< of the model, not between its work

  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable room_;
  std::vector<Place> places_;  ///< a ring: input i is in place i % size
  std::size_t claimed_ = 0;    ///< inputs that a thread has begun with
  std::size_t taken_ = 0;      ///< inputs that next() has returned
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace blip::cli
