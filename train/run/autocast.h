#pragma once

#include <torch/torch.h>

namespace blip::train {

/// While it lives, and when `on`, matrix products are computed in bfloat16 (torch's autocast).
class Autocast {
 public:
  Autocast(const torch::Device& device, bool on);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  torch::DeviceType device_;
  bool on_;
};

}  // namespace blip::train
