#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "apps/server/expiring_store.h"
#include "apps/server/service.h"

/// The service's tasks as the functions of a Gradio app.
namespace blip::server::gradio {

using Uploads = ExpiringStore<std::string>;

/// The functions of the tasks that a model is loaded for have these numbers ("fn_index").
std::optional<std::size_t> function_named(const Service& service, std::string_view name);
bool is_function(const Service& service, std::size_t function);

/// What GET /config answers: the functions, their inputs and outputs. `file_bytes` is the most that
/// a file may have.
Json config(const Service& service, std::size_t file_bytes);
/// What GET /gradio_api/info answers: the same for people and for clients' checks.
Json info(const Service& service);

/// Runs a function with positional `data` and takes the pictures that it names out of `uploads`.
/// Returns what it gives, as an array. Throws what Service::run() throws.
Json call(Service& service, std::size_t function, Json data, Uploads& uploads, const Ticket& ticket,
          const Events& events);

}  // namespace blip::server::gradio
