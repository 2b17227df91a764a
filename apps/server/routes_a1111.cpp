#include <string>
#include <utility>

#include "apps/server/api.h"
#include "apps/server/fronts.h"

namespace blip::server {
namespace {

Json a1111_shape(const Failure& failure) {
  return {{"detail", failure.message}};
}

void interrogate(Service& service, Exchange& exchange) {
  Fields fields(parse_request_json(std::exchange(exchange.request().body, {})),
                service.text_limits());
  // To AUTOMATIC1111, "clip" is BLIP with lists of phrases, and anything else a tagger.
  const std::string model = fields.text("model").value_or("clip");
  const Choice choice = choose(service, model == "clip" ? "blip:caption" : model, false);
  TaskInput input;
  input.images.push_back(picture_in(fields.take("image"), "image"));
  if (choice.model) input.fields["model"] = *choice.model;
  const Json result = service.run(choice.task, std::move(input), exchange.ticket());
  exchange.send(json_response({{"caption", texts_of(choice.task, result)[0]["text"]}}));
}

}  // namespace

void add_a1111_routes(Router& router, Service& service) {
  router.work(
      "POST", "/sdapi/v1/interrogate",
      [&service](Exchange& exchange, const Captures&) { interrogate(service, exchange); },
      a1111_shape);
}

}  // namespace blip::server
