#include "apps/server/service.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "apps/server/service_run.h"
#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::server {

const char* name(Task task) {
  constexpr const char* kNames[] = {"caption", "describe", "vqa",    "match",
                                    "embed",   "search",   "heatmap"};
  return kNames[static_cast<int>(task)];
}

Service::Service(const ServiceOptions& options)
    : text_limits_(options.texts),
      polish_(options.polish),
      decoders_(options.decoder),
      scheduler_(options.scheduler) {
  for (const std::filesystem::path& path : options.models) {
    std::string id = std::filesystem::weakly_canonical(path).filename().string();
    for (int n = 2; knows_model(id); ++n) id = path.filename().string() + "-" + std::to_string(n);
    models_.push_back(std::make_unique<Model>(id, options.load(path, options.engine)));
  }
  if (!options.index.empty()) load_index(options);
  if (polishes()) validate(polish_);
}

Service::~Service() = default;

// The index is searched with the loaded model that made it, else with that one, opened for it.
void Service::load_index(const ServiceOptions& options) {
  VectorIndex index = VectorIndex::open(options.index);
  const auto made_it = [&](const std::unique_ptr<Model>& model) {
    try {
      require_made_with(model->engine, index);
      return true;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::usage && e.code() != ErrorCode::unsupported) throw;
      return false;
    }
  };
  auto model = std::find_if(models_.begin(), models_.end(), made_it);
  if (model == models_.end()) {
    ModelSource source = model_source_of(index.manifest());
    if (source.path.empty()) {
      throw Error(ErrorCode::usage, "the index " + options.index.string() +
                                        " was made with a model that is not loaded");
    }
    source.options.precision = options.engine.precision;
    source.options.num_threads = options.engine.num_threads;
    models_.push_back(std::make_unique<Model>("index", options.load(source.path, source.options)));
    model = std::prev(models_.end());
  }
  index_model_ = model->get();
  retriever_.emplace(index_model_->engine, std::move(index));
}

bool Service::can(const Model& model, Task task) const {
  switch (task) {
    case Task::caption:
    case Task::describe:
      return model.captioner.has_value();
    case Task::vqa:
      return model.answerer.has_value();
    case Task::match:
      return model.itm || model.itc;
    case Task::embed:
      return model.features.projects();
    case Task::search:
      return &model == index_model_;
    case Task::heatmap:
      return model.localizer.has_value();
  }
  return false;
}

const Service::Model& Service::model_for(Task task,
                                         const std::optional<std::string>& wanted) const {
  for (const std::unique_ptr<Model>& model : models_) {
    if ((!wanted || model->id == *wanted) && can(*model, task)) return *model;
  }
  if (wanted && !knows_model(*wanted))
    throw Error(ErrorCode::not_found, "there is no model " + in_quotes(*wanted));
  throw Error(ErrorCode::unsupported,
              wanted ? "the model " + in_quotes(*wanted) + " cannot do " + std::string(name(task))
                     : "no model that can do " + std::string(name(task)) + " is loaded");
}

const std::string* Service::model_for(Task task) const {
  for (const std::unique_ptr<Model>& model : models_) {
    if (can(*model, task)) return &model->id;
  }
  return nullptr;
}

const Service::Model& Service::model_named(const std::string& id) const {
  for (const std::unique_ptr<Model>& model : models_) {
    if (model->id == id) return *model;
  }
  throw Error(ErrorCode::not_found, "there is no model " + in_quotes(id));
}

bool Service::knows_model(const std::string& id) const {
  return std::any_of(models_.begin(), models_.end(),
                     [&](const auto& model) { return model->id == id; });
}

bool Service::can(const std::string& id, Task task) const {
  return can(model_named(id), task);
}

std::size_t Service::count_tokens(const std::string& id, const std::string& text) const {
  return model_named(id).engine.tokenizer().encode_plain(text).size();
}

std::size_t Service::most_new_tokens(const std::string& id, const std::string& prompt) const {
  // [DEC] takes a position, but the last token, which is never fed back, none.
  const auto positions = static_cast<std::size_t>(
      model_named(id).engine.model().config().text.max_position_embeddings);
  return positions - std::min(positions, count_tokens(id, prompt));
}

Json Service::info() const {
  Json models = Json::array();
  for (const std::unique_ptr<Model>& model : models_) {
    Json tasks = Json::array();
    for (const Task task : kTasks) {
      if (can(*model, task)) tasks.push_back(name(task));
    }
    models.push_back({{"id", model->id},
                      {"architecture", blip::name(model->engine.model().config().architecture)},
                      {"precision", blip::name(model->engine.precision())},
                      {"tasks", std::move(tasks)}});
  }
  Json tasks = Json::object();
  for (const Task task : kTasks) {
    const std::string* id = model_for(task);
    tasks[name(task)] = id != nullptr ? Json(*id) : Json();
  }
  Json search;
  if (retriever_) {
    const IndexManifest& manifest = retriever_->index().manifest();
    search = {{"count", manifest.live()}, {"content", blip::name(manifest.settings.content)}};
  }
  return {{"version", BLIP_VERSION},
          {"models", std::move(models)},
          {"tasks", std::move(tasks)},
          {"search", std::move(search)}};
}

Json Service::run(Task task, TaskInput input, const Ticket& ticket, const Events& events) {
  if (events) events("progress", {{"stage", "queued"}});
  return Run(*this, task, std::move(input), ticket, events)();
}

}  // namespace blip::server
