#include "train/model/precision.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include "blip/base/error.h"

namespace blip::train {
namespace {

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
void set_autocast(torch::DeviceType device, bool enabled) {
  at::autocast::set_autocast_enabled(device, enabled);
}
void set_type(torch::DeviceType device, torch::ScalarType type) {
  at::autocast::set_autocast_dtype(device, type);
}
#else
void set_autocast(torch::DeviceType device, bool enabled) {
  device == torch::kCPU ? at::autocast::set_cpu_enabled(enabled)
                        : at::autocast::set_enabled(enabled);
}
void set_type(torch::DeviceType device, torch::ScalarType type) {
  device == torch::kCPU ? at::autocast::set_autocast_cpu_dtype(type)
                        : at::autocast::set_autocast_gpu_dtype(type);
}
#endif

}  // namespace

Autocast::Autocast(torch::DeviceType device, torch::ScalarType type) : device_(device) {
  if (device != torch::kCPU && device != torch::kCUDA) {
    throw Error(ErrorCode::unsupported, "mixed precision runs on a CPU or by CUDA");
  }
  set_type(device, type);
  set_autocast(device, true);
}

Autocast::~Autocast() {
  at::autocast::clear_cache();  // of weights in `type`, which the optimiser is about to change
  set_autocast(device_, false);
}

}  // namespace blip::train
