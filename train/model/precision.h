#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>

namespace blip::train {

/// While it lives autocast leaves operations alone: what is sensitive stays in f32.
class FullPrecision {
 private:
  c10::impl::ExcludeDispatchKeyGuard guard_{c10::autocast_dispatch_keyset};
};

}  // namespace blip::train
