#include "train/model/recompute.h"

#include <ATen/ThreadLocalState.h>

namespace blip::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Generator generator_of(const Tensor& x) {
  return at::globalContext().defaultGenerator(x.device());
}

/// What a layer's output depends on besides its inputs.
struct Surroundings : torch::CustomClassHolder {
  LayerFunction layer;
  Tensor random_state;
  at::ThreadLocalState thread;  // autocast among others
};

/// libtorch 1.13's Function takes no undefined tensors: an empty one stands for none.
Tensor or_empty(const Tensor& x, const Tensor& like) {
  return x.defined() ? x : torch::empty({0}, like.options().requires_grad(false));
}

Tensor or_none(const Tensor& x) {
  return x.numel() == 0 ? Tensor() : x;
}

Tensor detached(const Tensor& x) {
  return x.numel() == 0 ? Tensor() : x.detach().requires_grad_(x.requires_grad());
}

class Recompute : public torch::autograd::Function<Recompute> {
 public:
  static Tensor forward(AutogradContext* context, const LayerFunction& layer, const Tensor& x,
                        const Tensor& keys, const Tensor& values, const Tensor&) {
    auto surroundings = c10::make_intrusive<Surroundings>();
    surroundings->layer = layer;
    surroundings->random_state = generator_of(x).get_state();
    context->saved_data["surroundings"] = c10::IValue::make_capsule(surroundings);
    context->save_for_backward({x, keys, values});
    torch::NoGradGuard no_grad;
    return layer(x, or_none(keys), or_none(values));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto capsule = context->saved_data["surroundings"].toCapsule();
    const auto& surroundings = static_cast<const Surroundings&>(*capsule);
    const variable_list saved = context->get_saved_variables();
    const variable_list inputs = {detached(saved[0]), detached(saved[1]), detached(saved[2])};

    at::Generator generator = generator_of(inputs[0]);
    const Tensor random_now = generator.get_state();
    generator.set_state(surroundings.random_state);
    Tensor output;
    {
      const at::ThreadLocalStateGuard thread(surroundings.thread);
      torch::AutoGradMode with_gradients(true);
      output = surroundings.layer(inputs[0], inputs[1], inputs[2]);
    }
    generator.set_state(random_now);
    torch::autograd::backward({output}, {gradients[0]});

    variable_list results(5);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].defined()) results[i + 1] = inputs[i].grad();
    }
    return results;
  }
};

}  // namespace

Tensor recomputed(const LayerFunction& layer, const Tensor& x, const Tensor& keys,
                  const Tensor& values) {
  if (!torch::GradMode::is_enabled()) return layer(x, keys, values);
  // The layer's parameters may want gradients where its inputs do not: this one makes autograd ask.
  const Tensor asks = torch::empty({0}, x.options().requires_grad(true));
  return Recompute::apply(layer, x, or_empty(keys, x), or_empty(values, x), asks);
}

}  // namespace blip::train
