#include "apps/cli/polish_flags.h"

namespace blip::cli {

void PolishFlags::add_to(CLI::App& command) {
  CLI::Option* url = command
                         .add_option("--polish-url", service.url,
                                     "OpenAI-compatible API of a language model that rewrites the "
                                     "text, such as http://localhost:8080/v1; only the text is "
                                     "sent, and stays as it is where no answer comes")
                         ->group("Polishing");
  command.add_option("--polish-model", service.model, "name of the language model")
      ->capture_default_str()
      ->needs(url)
      ->group("Polishing");
  command
      .add_option("--polish-timeout", service.seconds,
                  "seconds that one text may take; then it stays as it is")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->needs(url)
      ->group("Polishing");
  // Not among what the URL is needed by: the variable may be set always.
  command.add_option("--polish-key", service.key, "the API's key")
      ->envname("BLIP_POLISH_KEY")
      ->group("Polishing");
}

}  // namespace blip::cli
