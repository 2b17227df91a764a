#include <blip/blip.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 3) return std::fputs("usage: caption_example MODEL PICTURE\n", stderr), 2;
  const blip::Captioner captioner(blip::Engine::load(argv[1]));
  std::puts(captioner.caption(blip::load_image(argv[2])).text.c_str());
} catch (const blip::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return blip::exit_status(e.code());
}
