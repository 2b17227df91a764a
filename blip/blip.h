#pragma once

/// blip.cpp: BLIP (arXiv 2201.12086) as a library. This header is the public interface; nothing
/// else is promised. See examples/caption for a program of ten lines.

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/generation/generation_config.h"
#include "blip/image/decode.h"
#include "blip/image/encode.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/description.h"
#include "blip/tasks/description_options.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/features.h"
#include "blip/tasks/localization.h"
#include "blip/tasks/matching.h"
#include "blip/tasks/nlvr.h"
#include "blip/tasks/vqa.h"

namespace blip {

/// "0.1.0"
BLIP_API const char* version() noexcept;

}  // namespace blip
