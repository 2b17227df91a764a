#include "train/run/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/checkpoint/safetensors.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRun = "run";  ///< the tensor that holds the run's state, as JSON

struct TypePair {
  torch::ScalarType torch;
  DType stored;
};

constexpr TypePair kTypes[] = {
    {torch::kFloat, DType::f32},     {torch::kDouble, DType::f64}, {torch::kHalf, DType::f16},
    {torch::kBFloat16, DType::bf16}, {torch::kLong, DType::i64},   {torch::kInt, DType::i32},
    {torch::kShort, DType::i16},     {torch::kChar, DType::i8},    {torch::kByte, DType::u8},
    {torch::kBool, DType::boolean},
};

DType stored_type(torch::ScalarType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.torch == type) return pair.stored;
  }
  throw Error(ErrorCode::internal, std::string("no file type for tensors of ") + toString(type));
}

/// The tensor must outlive what is returned.
StoredTensor stored(const torch::Tensor& tensor) {
  return {stored_type(tensor.scalar_type()),
          Shape(tensor.sizes().begin(), tensor.sizes().end()),
          {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()},
          nullptr};
}

std::string name_of(std::size_t i) {
  char text[24];
  std::snprintf(text, sizeof text, "%06zu", i);
  return text;
}

/// Brings a file, or the names in a folder, to the disk.
void sync(const fs::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!done) {
    throw Error(ErrorCode::io, "cannot write " + path.string() + ": " + std::strerror(error));
  }
}

/// Removes a file at the end of the scope; it need not be there.
struct Remover {
  fs::path file;
  ~Remover() {
    std::error_code ignored;
    fs::remove(file, ignored);
  }
};

Json to_json(const RunState& state) {
  Json positions = Json::array();
  for (const DataPosition& p : state.positions) {
    positions.push_back({{"epoch", p.epoch}, {"batches", p.batches}, {"taken", p.taken}});
  }
  return {{"task", state.task},
          {"step", state.step},
          {"steps_per_epoch", state.steps_per_epoch},
          {"step_size", state.step_size},
          {"seed", state.seed},
          {"positions", std::move(positions)}};
}

RunState from_json(const Json& json) {
  RunState state;
  state.task = json.at("task").get<std::string>();
  state.step = json.at("step").get<std::int64_t>();
  state.steps_per_epoch = json.at("steps_per_epoch").get<std::int64_t>();
  state.step_size = json.at("step_size").get<std::int64_t>();
  state.seed = json.at("seed").get<std::uint64_t>();
  for (const Json& p : json.at("positions")) {
    state.positions.push_back({p.at("epoch").get<std::int64_t>(),
                               p.at("batches").get<std::int64_t>(),
                               p.at("taken").get<std::int64_t>()});
  }
  if (state.positions.empty() || state.step < 0 || state.steps_per_epoch < 1) {
    throw Error(ErrorCode::bad_model, "no position");
  }
  return state;
}

RunState read_state(const TensorStore& store, const fs::path& file) {
  const StoredTensor* const run = store.find(kRun);
  if (run == nullptr) {
    throw Error(ErrorCode::bad_model, file.string() + " is no checkpoint of a run");
  }
  const std::string_view text(reinterpret_cast<const char*>(run->bytes.data()), run->bytes.size());
  try {
    return from_json(parse_json(text, file.string()));
  } catch (const std::exception& e) {
    throw Error(ErrorCode::bad_model,
                file.string() + " does not say where its run stands: " + in_quotes(e.what()));
  }
}

[[noreturn]] void fail_other_model(const fs::path& file, const std::string& reason) {
  throw Error(ErrorCode::usage, file.string() + " is of another model or configuration: " + reason +
                                    "; use the same, or another \"output\"");
}

}  // namespace

std::vector<fs::path> Checkpoints::all() const {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors")) found.push_back(entry.path());
  }
  // Numbers beyond eight digits are longer.
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename().string(), y = b.filename().string();
    return std::pair(x.size(), x) < std::pair(y.size(), y);
  });
  return found;
}

fs::path Checkpoints::newest() const {
  const auto found = all();
  return found.empty() ? fs::path() : found.back();
}

void Checkpoints::save(const RunState& state, const std::vector<torch::Tensor>& tensors) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot create " + folder_.string() + ": " + error.message());
  }
  std::vector<torch::Tensor> on_cpu;
  std::vector<std::pair<std::string, StoredTensor>> named;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    on_cpu.push_back(tensors[i].detach().cpu().contiguous());
    named.emplace_back(name_of(i), stored(on_cpu.back()));
  }
  char name[48];
  std::snprintf(name, sizeof name, "step-%08lld.safetensors", static_cast<long long>(state.step));
  const fs::path file = folder_ / name;
  const Remover partial{folder_ / (std::string(name) + ".partial")};
  const std::string text = dump(to_json(state));
  named.emplace_back(kRun, StoredTensor{DType::u8,
                                        {static_cast<std::int64_t>(text.size())},
                                        std::as_bytes(std::span(text)),
                                        nullptr});
  write_safetensors(partial.file, named);
  sync(partial.file, O_RDONLY);
  fs::rename(partial.file, file, error);
  if (error) throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + error.message());
  sync(folder_, O_RDONLY | O_DIRECTORY);
  const auto found = all();
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_) < found.size(); ++i) {
    if (found[i] != file) fs::remove(found[i], error);
  }
}

RunState Checkpoints::load(const fs::path& file, const std::vector<torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  TensorStore store;
  read_safetensors(file, store);
  RunState state = read_state(store, file);
  const std::size_t stored_count = store.tensors().size() - 1;
  if (stored_count != tensors.size()) {
    fail_other_model(file, "it holds " + std::to_string(stored_count) + " tensors, and " +
                               std::to_string(tensors.size()) + " were expected");
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor* const found = store.find(name_of(i));
    if (found == nullptr) fail_other_model(file, "tensor " + name_of(i) + " is missing");
    const StoredTensor& from = *found;
    const torch::Tensor& to = tensors[i];
    const Shape shape(to.sizes().begin(), to.sizes().end());
    if (from.shape != shape || from.dtype != stored_type(to.scalar_type())) {
      fail_other_model(file, "a tensor is " + std::string(name(from.dtype)) + " " +
                                 to_string(from.shape) + " where " +
                                 std::string(name(stored_type(to.scalar_type()))) + " " +
                                 to_string(shape) + " was expected");
    }
    torch::Tensor copy = torch::empty(to.sizes(), to.options().device(torch::kCPU));
    if (!from.bytes.empty()) std::memcpy(copy.data_ptr(), from.bytes.data(), from.bytes.size());
    to.detach().copy_(copy);
  }
  return state;
}

DataPosition position_after(const RunState& state, const Share& share, bool order_is_global) {
  const auto refuse = [](const std::string& reason) {
    throw Error(ErrorCode::usage, "the run cannot go on: " + reason);
  };
  if (state.step_size != share.step_size()) {
    refuse("a step took " + std::to_string(state.step_size) + " records, and would now take " +
           std::to_string(share.step_size()) +
           " (processes x \"optim.batch_size\" x \"optim.accumulation\")");
  }
  const auto ranks = static_cast<std::int64_t>(state.positions.size());
  const std::int64_t batches = state.positions[0].batches;
  const std::int64_t epoch_step = state.step % state.steps_per_epoch;
  const bool same = ranks == share.ranks && batches == epoch_step * share.accumulation;
  if (same) return state.positions[static_cast<std::size_t>(share.rank)];
  if (!order_is_global) {
    refuse("tar shards were divided among " + std::to_string(ranks) + " processes, and now are " +
           std::to_string(share.ranks) + ": the order of the samples would change");
  }
  const std::int64_t per_rank = state.step_size / ranks;
  for (const DataPosition& position : state.positions) {
    if (position.taken == epoch_step * per_rank) continue;
    refuse(
        "records were passed over in this epoch, so that the order of the others depends on the "
        "number of processes, which was " +
        std::to_string(ranks) + "; go on with as many");
  }
  const std::int64_t done = epoch_step * share.accumulation;
  return {state.step / state.steps_per_epoch, done, done * share.batch_size};
}

void save_tensors(const fs::path& file,
                  const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                  const std::map<std::string, std::string>& texts) {
  std::vector<torch::Tensor> on_cpu;
  std::vector<std::pair<std::string, StoredTensor>> named;
  on_cpu.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    on_cpu.push_back(tensor.detach().cpu().contiguous());
    named.emplace_back(name, stored(on_cpu.back()));
  }
  write_safetensors(file, named, texts);
}

}  // namespace blip::train
