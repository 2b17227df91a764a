#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/polish/polish.h"
#include "apps/server/decoder_pool.h"
#include "apps/server/fields.h"
#include "apps/server/scheduler.h"
#include "apps/server/task_input.h"
#include "apps/server/ticket.h"
#include "blip/base/json.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/features.h"
#include "blip/tasks/localization.h"
#include "blip/tasks/matching.h"
#include "blip/tasks/retrieval.h"
#include "blip/tasks/vqa.h"

namespace blip::server {

enum class Task { caption, describe, vqa, match, embed, search, heatmap };
inline constexpr Task kTasks[] = {Task::caption, Task::describe, Task::vqa,    Task::match,
                                  Task::embed,   Task::search,   Task::heatmap};
const char* name(Task task);

struct ServiceOptions {
  std::vector<std::filesystem::path> models;  ///< each does the tasks that it is made for
  EngineOptions engine;
  /// Opens each of them.
  std::function<Engine(const std::filesystem::path&, const EngineOptions&)> load = Engine::load;
  std::filesystem::path index;  ///< to search in; empty: none
  SchedulerOptions scheduler;
  DecoderOptions decoder;
  TextLimits texts;
  PolishService polish;  ///< that may rewrite descriptions; without a URL: none
};

/// Told of a request's progress: "progress" and "partial", as the API documents them.
using Events = std::function<void(const char* event, const Json& data)>;

/// What the service can do, whatever way a request came: fields and pictures in, findings out.
/// Safe to share between threads; run() blocks the calling one.
class Service {
 public:
  /// Loads all models. Throws Error{usage} for a polisher's URL that is none, and what
  /// Engine::load() and VectorIndex::open() throw.
  explicit Service(const ServiceOptions& options);
  ~Service();

  /// Throws Error: usage for fields that make no sense, unsupported when no model that does the
  /// task is loaded, bad_image, too_large, cancelled when the ticket ended.
  Json run(Task task, TaskInput input, const Ticket& ticket, const Events& events = {});

  /// Models, what they do, and the index: the answer of /v1/info without the server's limits.
  Json info() const;
  /// The id of the model that does it, or null.
  const std::string* model_for(Task task) const;
  bool knows_model(const std::string& id) const;
  /// Throws Error{not_found}.
  bool can(const std::string& id, Task task) const;
  /// Tokens of `text` to that model. Throws Error{not_found}.
  std::size_t count_tokens(const std::string& id, const std::string& text) const;
  /// That the model can write behind `prompt`. Throws Error{not_found}.
  std::size_t most_new_tokens(const std::string& id, const std::string& prompt) const;

  bool polishes() const { return !polish_.url.empty(); }
  const TextLimits& text_limits() const { return text_limits_; }
  Scheduler::Counts counts() const { return scheduler_.counts(); }
  std::size_t decoder_crashes() const { return decoders_.crashes(); }

 private:
  struct Model;
  class Run;

  void load_index(const ServiceOptions& options);
  const Model& model_named(const std::string& id) const;
  bool can(const Model& model, Task task) const;
  const Model& model_for(Task task, const std::optional<std::string>& wanted) const;

  TextLimits text_limits_;
  PolishService polish_;
  std::vector<std::unique_ptr<Model>> models_;
  std::optional<Retriever> retriever_;
  const Model* index_model_ = nullptr;
  DecoderPool decoders_;
  Scheduler scheduler_;
};

}  // namespace blip::server
