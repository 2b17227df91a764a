#include "apps/cli/service_flags.h"

#include <chrono>

#include "apps/cli/child.h"

namespace blip::cli {

void ServiceFlags::add_to(CLI::App& command) {
  image.options.exif_orientation = true;  // as browsers show photos
  image.options.max_pixels = 100'000'000;
  model.add_to(command);
  command
      .add_option("--add-model", more_models_,
                  "another checkpoint, for the tasks that those before it cannot do (may be "
                  "given several times). Without --model the small ones that come with the "
                  "program do what is left")
      ->allow_extra_args(false);
  image.add_to(command);
  add_limit(command, "--max-batch", service_.scheduler.max_batch,
            "texts that are written together");
  add_limit(command, "--max-wait-ms", max_wait_ms_,
            "milliseconds that a first request waits for others (later ones join on the way)",
            {0, 60'000});
  add_limit(command, "--decode-timeout", decode_timeout_,
            "seconds that decoding a picture may take");
  add_limit(command, "--decoders", service_.decoder.processes, "processes that decode pictures",
            {1, 64});
}

server::ServiceOptions ServiceFlags::options() const {
  server::ServiceOptions options = service_;
  if (!model.model.empty()) options.models.emplace_back(model.model);
  for (const std::string& more : more_models_) options.models.emplace_back(more);
  if (model.model.empty()) {
    options.models.push_back(model.path());
    for (const char* task : {"vqa", "nlvr"}) options.models.push_back(shipped_model(task));
  }
  options.engine = model.options;
  options.load = load_engine;
  options.index = index;
  options.polish = polish.service;
  options.scheduler.num_threads = model.options.num_threads;
  options.scheduler.max_wait = std::chrono::milliseconds(max_wait_ms_);
  options.decoder.command = own_program();
  options.decoder.image = image.options;
  options.decoder.timeout = std::chrono::seconds(decode_timeout_);
  return options;
}

}  // namespace blip::cli
