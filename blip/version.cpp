#include "blip/blip.h"

namespace blip {

const char* version() noexcept {
  return BLIP_VERSION;
}

}  // namespace blip
