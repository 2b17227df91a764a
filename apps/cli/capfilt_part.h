#pragma once

#include <functional>
#include <string>

#include "apps/cli/capfilt_plan.h"
#include "blip/base/context.h"
#include "blip/image/decode.h"
#include "blip/tasks/capfilt.h"

namespace blip::cli {

/// How parts are worked through.
struct CapFiltWork {
  const CapFilter& filter;
  ImageOptions images;
  std::size_t batch_size = 8;
  Context context;
  /// Told how many records of the part are done; may be empty.
  std::function<void(std::size_t done)> progress;
  std::function<void(const Error& error)> complain;  ///< why a source cannot be opened
};

enum class PartOutcome {
  done,
  was_done,    ///< before
  busy,        ///< another worker is at it
  unreadable,  ///< its source is not there, or is of another kind; a later run tries again
};

/// Does one part: its records' provenance (NAME_records.jsonl), what the output has of its
/// pictures, and at last NAME_stats.json, which says that the part is done. Provenance is written
/// as it arises, and a part that was begun goes on after it. Throws Error{io} for an output that
/// cannot be written, Error{usage} for a source that has changed since, Error{cancelled}.
PartOutcome do_part(const CapFiltPlan& plan, const CapFiltPart& part, const CapFiltWork& work);

}  // namespace blip::cli
