// Captions one picture again and again on request: caption_runner MODEL PRECISION PICTURE
// NEW_TOKENS BEAMS. For each line on standard input, one run; for each run, one line of JSON on
// standard output.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>

#include "blip/base/json.h"
#include "blip/image/decode.h"
#include "blip/tasks/captioning.h"

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const blip::Captioner captioner(
      blip::Engine::load(argv[1], {.precision = blip::find_precision(argv[2])}));
  const blip::Image image = blip::load_image(argv[3]);
  blip::CaptionOptions options;
  options.generation.max_new_tokens = options.generation.min_new_tokens = std::stoi(argv[4]);
  options.generation.num_beams = std::stoi(argv[5]);
  for (std::string line; std::getline(std::cin, line);) {
    const double start = seconds();
    const blip::CaptionRequest request{captioner.engine().encode({&image, 1}).front(), ""};
    const double encoded = seconds();
    const blip::Caption caption = captioner.caption({&request, 1}, options)[0][0];
    const double end = seconds();
    const blip::Json row = {
        {"vision", encoded - start}, {"total", end - start}, {"ids", caption.ids}};
    std::printf("%s\n", row.dump().c_str());
    std::fflush(stdout);
  }
}
