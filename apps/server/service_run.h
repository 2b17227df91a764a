#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/server/service.h"
#include "blip/base/error.h"
#include "blip/model/blip.h"
#include "blip/tasks/description.h"

/// How Service does the work of one request.
namespace blip::server {

/// A loaded checkpoint, with all that it is made for.
struct Service::Model {
  Model(std::string name, Engine opened)
      : id(std::move(name)),
        engine(std::move(opened)),
        captioner(if_supported<Captioner>(engine)),
        answerer(if_supported<QuestionAnswerer>(engine)),
        localizer(if_supported<Localizer>(engine)),
        matcher(engine),
        features(engine),
        itm(engine.model().has_itm_head()),
        itc(engine.model().has_itc_heads()) {}

  /// A task object, or nothing where the checkpoint is not made for it.
  template <class T>
  static std::optional<T> if_supported(const Engine& engine) {
    try {
      return T(engine);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::unsupported) throw;
      return {};
    }
  }

  std::string id;
  Engine engine;
  std::optional<Captioner> captioner;
  std::optional<QuestionAnswerer> answerer;
  std::optional<Localizer> localizer;
  Matcher matcher;
  FeatureExtractor features;
  bool itm;
  bool itc;
};

/// One request's work.
class Service::Run {
 public:
  Run(Service& service, Task task, TaskInput input, const Ticket& ticket, const Events& events)
      : service_(service),
        task_(task),
        images_(std::move(input.images)),
        fields_(std::move(input.fields), service.text_limits_),
        ticket_(ticket),
        events_(events),
        model_(service.model_for(task, fields_.text("model"))) {}

  Json operator()();

 private:
  void caption();
  void describe();
  void vqa();
  void match();
  void embed();
  void search();
  void heatmap();
  DescriptionOptions description_options();
  Judge judge_of(const EncodedImage& image);

  /// Runs on the scheduler's thread.
  template <class Work>
  auto compute(Work work) {
    std::optional<decltype(work(Context()))> result;
    service_.scheduler_.run(ticket_, [&](const Context& context) { result = work(context); });
    return std::move(*result);
  }

  /// Decodes and encodes a picture; `about` becomes its size.
  EncodedImage encode(const std::string& bytes, Json& about);
  /// The request's one picture.
  EncodedImage encode_only();
  std::vector<std::string> required_texts(const char* name);

  Service& service_;
  Task task_;
  std::vector<std::string> images_;
  Fields fields_;
  const Ticket& ticket_;
  const Events& events_;
  const Model& model_;
  Json result_ = Json::object();
};

}  // namespace blip::server
