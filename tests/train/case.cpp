#include "tests/train/case.h"

#include <cstdlib>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/checkpoint/safetensors.h"

namespace blip::train::testing {

std::filesystem::path golden_root() {
  const char* given = std::getenv("BLIP_GOLDEN_DIR");
  return given != nullptr && *given != '\0' ? given : BLIP_GOLDEN_COPY;
}

Tensors::Tensors(const std::filesystem::path& file) {
  read_safetensors(file, store_);
}

torch::Tensor Tensors::operator()(const std::string& name) const {
  const StoredTensor* found = store_.find(name);
  if (found == nullptr) throw Error(ErrorCode::bad_model, "no tensor " + name);
  const auto type = found->dtype == DType::i64 ? torch::kLong : torch::kFloat;
  if (found->dtype != DType::i64 && found->dtype != DType::f32) {
    throw Error(ErrorCode::bad_model, name + " is neither f32 nor i64");
  }
  return torch::from_blob(const_cast<std::byte*>(found->bytes.data()), found->shape, type).clone();
}

std::vector<std::string> Tensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : store_.tensors()) names.push_back(name);
  return names;
}

Case::Case(const std::string& name)
    : folder(golden_root() / name),
      manifest(read_json(folder / "manifest.json")),
      inputs(folder / "inputs.safetensors"),
      expected(folder / "expected.safetensors") {}

std::filesystem::path Case::checkpoint() const {
  return manifest.contains("checkpoint") ? folder / manifest["checkpoint"].get<std::string>()
                                         : folder;
}

TaskOptions Case::options() const {
  AuthorsOptions authors;
  if (manifest.contains("vit")) authors.vision_heads = manifest["vit"]["heads"].get<int>();
  TaskOptions options;
  options.config = open_checkpoint(checkpoint(), authors).config;
  options.dropout = 0;
  options.alpha_ramp_epochs = 0;
  if (manifest.contains("queue_size")) options.queue_size = manifest["queue_size"].get<int>();
  return options;
}

void expect_close(const torch::Tensor& got, const torch::Tensor& wanted, double absolute,
                  double relative, const std::string& what) {
  ASSERT_EQ(got.numel(), wanted.numel()) << what;
  const torch::Tensor a = got.detach().to(torch::kDouble).reshape({-1});
  const torch::Tensor b = wanted.to(torch::kDouble).reshape({-1});
  const torch::Tensor excess = (a - b).abs() / (absolute + relative * b.abs());
  const auto worst = excess.nan_to_num(1e30).argmax().item<std::int64_t>();
  EXPECT_LE(excess[worst].item<double>(), 1.0)
      << what << ": element " << worst << " is " << a[worst].item<double>() << ", wanted "
      << b[worst].item<double>();
}

torch::Tensor loss(const Losses& losses, const std::string& name) {
  for (const auto& [found, value] : losses) {
    if (found == name) return value;
  }
  throw Error(ErrorCode::internal, "no " + name);
}

torch::Tensor total(const Losses& losses) {
  torch::Tensor sum = torch::zeros({});
  for (const auto& [name, value] : losses) sum = sum + value;
  return sum;
}

}  // namespace blip::train::testing
