#include "train/run/autocast.h"

#include <ATen/autocast_mode.h>

namespace blip::train {
namespace {

// libtorch's names for it changed in version 2.4.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
void enable(torch::DeviceType device, bool on) {
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, on);
}
#else
void enable(torch::DeviceType device, bool on) {
  if (device == torch::kCUDA) {
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
    at::autocast::set_enabled(on);
  } else {
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    at::autocast::set_cpu_enabled(on);
  }
}
#endif

}  // namespace

Autocast::Autocast(const torch::Device& device, bool on) : device_(device.type()), on_(on) {
  if (!on_) return;
  at::autocast::increment_nesting();
  enable(device_, true);
}

Autocast::~Autocast() {
  if (!on_) return;
  enable(device_, false);
  // Copies of weights in bfloat16 are kept until the outermost one ends.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

}  // namespace blip::train
