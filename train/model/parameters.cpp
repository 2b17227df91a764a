#include "train/model/parameters.h"

#include <algorithm>
#include <cmath>

#include "blip/base/error.h"

namespace blip::train {
namespace {

constexpr double kDeviation = 0.02;
constexpr const char* kLoraA = ".lora_a";
constexpr const char* kLoraB = ".lora_b";

}  // namespace

torch::Tensor Linear::operator()(const torch::Tensor& x) const {
  torch::Tensor y = at::linear(x, weight, bias);
  if (!lora_a.defined()) return y;
  return y + at::linear(at::linear(x, lora_a), lora_b) * lora_scale;
}

torch::Tensor LayerNorm::operator()(const torch::Tensor& x) const {
  // Under autocast x may be of half precision; the sums are taken in f32 all the same.
  return at::layer_norm(x.to(weight.scalar_type()), {weight.size(0)}, weight, bias, eps);
}

void Parameters::tie(std::string from, std::string to, std::string except) {
  ties_.push_back({std::move(from), std::move(to), std::move(except)});
}

std::string Parameters::meant(const std::string& name) const {
  for (const TieRule& rule : ties_) {
    if (name.starts_with(rule.from) && name.find(rule.except) == std::string::npos) {
      return rule.to + name.substr(rule.from.size());
    }
  }
  return name;
}

const Parameters::Entry* Parameters::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

/// Makes the modules that the name's dots describe and leaves the tensor in the last of them.
void Parameters::place(const std::string& name, torch::Tensor& tensor) {
  torch::nn::Module* module = &root_;
  const std::string path = prefix_ + name;
  std::size_t start = 0;
  for (std::size_t dot; (dot = path.find('.', start)) != std::string::npos; start = dot + 1) {
    const std::string part = path.substr(start, dot - start);
    const auto children = module->named_children();
    const auto* child = children.find(part);
    module = child != nullptr
                 ? child->get()
                 : module->register_module(part, std::make_shared<torch::nn::Module>()).get();
  }
  const std::string last = path.substr(start);
  tensor =
      trained() ? module->register_parameter(last, tensor) : module->register_buffer(last, tensor);
}

torch::Tensor Parameters::find_or_add(const std::string& name, torch::IntArrayRef sizes,
                                      const std::function<void(torch::Tensor&)>& fill) {
  if (find(name) != nullptr) throw Error(ErrorCode::internal, name + " is asked for twice");
  const Entry* shared = find(meant(name));
  Entry entry{name, {}, shared != nullptr};
  if (shared != nullptr) {
    entry.tensor = shared->tensor;
  } else {
    torch::NoGradGuard no_grad;
    entry.tensor = torch::empty(sizes);
    fill(entry.tensor);
    place(name, entry.tensor);
  }
  index_[name] = entries_.size();
  entries_.push_back(entry);
  return entry.tensor;
}

torch::Tensor Parameters::normal(const std::string& name, torch::IntArrayRef sizes) {
  return find_or_add(name, sizes,
                     [&](torch::Tensor& t) { trained() ? t.normal_(0, kDeviation) : t.zero_(); });
}

torch::Tensor Parameters::uniform(const std::string& name, torch::IntArrayRef sizes, double bound) {
  return find_or_add(name, sizes,
                     [&](torch::Tensor& t) { trained() ? t.uniform_(-bound, bound) : t.zero_(); });
}

torch::Tensor Parameters::constant(const std::string& name, torch::IntArrayRef sizes,
                                   double value) {
  return find_or_add(name, sizes, [&](torch::Tensor& t) { t.fill_(value); });
}

Linear Parameters::linear(const std::string& name, int out, int in, Fill fill) {
  Linear linear;
  if (fill == Fill::normal) {
    linear.weight = normal(name + ".weight", {out, in});
    linear.bias = constant(name + ".bias", {out}, 0);
  } else {
    const double bound = 1 / std::sqrt(in);
    linear.weight = uniform(name + ".weight", {out, in}, bound);
    linear.bias = uniform(name + ".bias", {out}, bound);
  }
  add_lora(name, linear);
  return linear;
}

void Parameters::add_lora(const std::string& name, Linear& linear) {
  const auto wanted = [&](const std::string& target) { return name.ends_with(target); };
  if (lora_.rank == 0 || std::none_of(lora_.targets.begin(), lora_.targets.end(), wanted)) return;
  const std::int64_t in = linear.weight.size(1), out = linear.weight.size(0);
  linear.lora_a = uniform(name + kLoraA, {lora_.rank, in}, 1 / std::sqrt(in));
  linear.lora_b = constant(name + kLoraB, {out, lora_.rank}, 0);
  linear.lora_scale = lora_.alpha / static_cast<double>(lora_.rank);
  linear.weight.requires_grad_(false);
  linear.bias.requires_grad_(false);
}

LayerNorm Parameters::layer_norm(const std::string& name, int width, float eps) {
  return {constant(name + ".weight", {width}, 1), constant(name + ".bias", {width}, 0), eps};
}

std::vector<torch::Tensor> Parameters::tensors() const {
  std::vector<torch::Tensor> tensors;
  for (const Entry& entry : entries_) {
    if (!entry.tied) tensors.push_back(entry.tensor);
  }
  return tensors;
}

bool Parameters::is_lora(const std::string& name) {
  return name.ends_with(kLoraA) || name.ends_with(kLoraB);
}

torch::Tensor Parameters::merged(const Entry& entry) const {
  constexpr std::string_view kWeight = ".weight";
  if (!entry.name.ends_with(kWeight)) return entry.tensor.detach();
  const std::string linear = entry.name.substr(0, entry.name.size() - kWeight.size());
  const Entry* a = find(linear + kLoraA);
  const Entry* b = find(linear + kLoraB);
  if (a == nullptr || b == nullptr) return entry.tensor.detach();
  torch::NoGradGuard no_grad;
  return entry.tensor +
         b->tensor.matmul(a->tensor) * (lora_.alpha / static_cast<double>(lora_.rank));
}

void Parameters::freeze(const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    bool found = false;
    for (Entry& entry : entries_) {
      if (!entry.name.starts_with(prefix)) continue;
      found = true;
      if (!is_lora(entry.name)) entry.tensor.requires_grad_(false);
    }
    if (!found) {
      throw Error(ErrorCode::usage, "no parameter's name begins with " + in_quotes(prefix) +
                                        ", which is to be frozen; names begin with " +
                                        in_quotes(entries_.front().name) + " and the like");
    }
  }
}

}  // namespace blip::train
