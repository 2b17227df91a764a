#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/torch.h>

namespace blip::train {

/// While it lives matrix products on the device compute in `type`, bf16 or f16; their parameters
/// stay f32. Gradients are taken after it is gone. One at a time.
class Autocast {
 public:
  Autocast(torch::DeviceType device, torch::ScalarType type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  torch::DeviceType device_;
};

/// While it lives autocast leaves operations alone: what is sensitive stays in f32.
class FullPrecision {
 private:
  c10::impl::ExcludeDispatchKeyGuard guard_{c10::autocast_dispatch_keyset};
};

}  // namespace blip::train
