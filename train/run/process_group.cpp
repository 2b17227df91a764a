#include "train/run/process_group.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <numeric>

// libtorch names headers of gloo and NCCL that it does not always bring.
#if defined(USE_C10D_GLOO) && __has_include(<gloo/algorithm.h>)
#define BLIP_HAS_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#define BLIP_HAS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#if defined(BLIP_HAS_GLOO) || defined(BLIP_HAS_NCCL)
#define BLIP_HAS_PROCESSES
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

#include "blip/base/error.h"

namespace blip::train {
namespace {

class Alone final : public ProcessGroup {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  torch::Tensor all_gather(const torch::Tensor& tensor) override { return tensor.detach(); }
  torch::Tensor all_gather_with_gradient(const torch::Tensor& tensor) override { return tensor; }
  void average(const std::vector<torch::Tensor>&) override {}
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The first of `names` that is set, as a number; -1 when none is.
std::int64_t number(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const std::string text = variable(name);
    if (text.empty()) continue;
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) {
      throw Error(ErrorCode::usage, std::string("the environment's ") + name +
                                        " should be a number, but is " + in_quotes(text));
    }
    return value;
  }
  return -1;
}

#ifdef BLIP_HAS_PROCESSES

#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif

constexpr std::int64_t kBucketBytes = std::int64_t{25} << 20;

/// Runs a collective, and says in the project's words what became of the others.
void together(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string reason = e.what();
    throw Error(ErrorCode::io, "another process of the run was lost or did not answer in time: " +
                                   in_quotes(reason.substr(0, reason.find('\n'))));
  }
}

class Group;

/// Gathers forward; backward, each rank gets the sum of what all ranks have for its part.
class GatherFunction : public torch::autograd::Function<GatherFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& tensor, std::int64_t group);
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list grads);
};

class Group final : public ProcessGroup {
 public:
  Group(c10::intrusive_ptr<Backend> backend, std::int64_t rank, std::int64_t size)
      : backend_(std::move(backend)), rank_(rank), size_(size) {}

  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return size_; }

  torch::Tensor all_gather(const torch::Tensor& tensor) override {
    std::vector<torch::Tensor> in = {tensor.detach().contiguous()};
    std::vector<std::vector<torch::Tensor>> out(1);
    for (std::int64_t i = 0; i < size_; ++i) out[0].push_back(torch::empty_like(in[0]));
    together([&] { backend_->allgather(out, in)->wait(); });
    return torch::cat(out[0]);
  }

  torch::Tensor all_gather_with_gradient(const torch::Tensor& tensor) override {
    return GatherFunction::apply(tensor, reinterpret_cast<std::int64_t>(this));
  }

  void sum(torch::Tensor& tensor) {
    std::vector<torch::Tensor> tensors = {tensor};
    together([&] { backend_->allreduce(tensors)->wait(); });
  }

  void average(const std::vector<torch::Tensor>& tensors) override {
    const torch::NoGradGuard no_grad;
    for (std::size_t begin = 0; begin < tensors.size();) {
      std::vector<torch::Tensor> flat;
      std::size_t end = begin;
      for (std::int64_t bytes = 0; end < tensors.size() && (bytes == 0 || bytes < kBucketBytes);
           ++end) {
        flat.push_back(tensors[end].reshape({-1}));
        bytes += static_cast<std::int64_t>(tensors[end].nbytes());
      }
      torch::Tensor bucket = torch::cat(flat);
      sum(bucket);
      bucket.div_(static_cast<double>(size_));
      std::int64_t at = 0;
      for (; begin < end; ++begin) {
        const std::int64_t count = tensors[begin].numel();
        tensors[begin].copy_(bucket.narrow(0, at, count).view(tensors[begin].sizes()));
        at += count;
      }
    }
  }

 private:
  c10::intrusive_ptr<Backend> backend_;
  std::int64_t rank_, size_;
};

torch::Tensor GatherFunction::forward(torch::autograd::AutogradContext* context,
                                      const torch::Tensor& tensor, std::int64_t group) {
  context->saved_data["group"] = group;
  context->saved_data["rows"] = tensor.size(0);
  return reinterpret_cast<Group*>(group)->all_gather(tensor);
}

torch::autograd::tensor_list GatherFunction::backward(torch::autograd::AutogradContext* context,
                                                      torch::autograd::tensor_list grads) {
  auto* const group = reinterpret_cast<Group*>(context->saved_data["group"].toInt());
  const std::int64_t rows = context->saved_data["rows"].toInt();
  torch::Tensor all = grads[0].contiguous().clone();
  group->sum(all);
  return {all.narrow(0, group->rank() * rows, rows), torch::Tensor()};
}

c10::intrusive_ptr<c10d::Store> open_store(const Rendezvous& rendezvous,
                                           std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = rendezvous.port;
  options.isServer = rendezvous.rank == 0;
  options.numWorkers = static_cast<std::size_t>(rendezvous.size);
  options.timeout = timeout;
  auto store = c10::make_intrusive<c10d::TCPStore>(rendezvous.host, options);
  store->setTimeout(timeout);
  return store;
}

c10::intrusive_ptr<Backend> open_gloo([[maybe_unused]] const Rendezvous& rendezvous,
                                      [[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store,
                                      [[maybe_unused]] std::chrono::milliseconds timeout) {
#ifdef BLIP_HAS_GLOO
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->timeout = timeout;
  const std::string interface = variable("GLOO_SOCKET_IFNAME");
  const bool local = rendezvous.host == "localhost" || rendezvous.host.starts_with("127.");
  if (!interface.empty()) {
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
  } else if (local) {
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  } else {
    options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
  }
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(rendezvous.rank),
                                                     static_cast<int>(rendezvous.size), options);
#else
  throw Error(ErrorCode::unsupported, "this build has no gloo; use nccl");
#endif
}

c10::intrusive_ptr<Backend> open_nccl([[maybe_unused]] const Rendezvous& rendezvous,
                                      [[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store,
                                      [[maybe_unused]] std::chrono::milliseconds timeout) {
#ifdef BLIP_HAS_NCCL
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(rendezvous.rank),
                                                     static_cast<int>(rendezvous.size), options);
#else
  throw Error(ErrorCode::unsupported, "this build has no NCCL; use gloo");
#endif
}

#endif  // BLIP_HAS_PROCESSES

}  // namespace

Rendezvous Rendezvous::from_environment() {
  Rendezvous r;
  const bool plain = !variable("WORLD_SIZE").empty();
  if (!plain && variable("MASTER_ADDR").empty()) return r;
  r.size = number({"WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"});
  r.rank = number({"RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"});
  r.local_rank = number({"LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"});
  if (r.local_rank < 0) r.local_rank = 0;
  if (r.size < 1) return {};
  if (r.size == 1) return {0, 1, r.local_rank, "", 0};
  const std::int64_t port = number({"MASTER_PORT"});
  r.host = variable("MASTER_ADDR");
  if (r.rank < 0 || r.rank >= r.size || r.host.empty() || port < 1 || port > 65534) {
    throw Error(ErrorCode::usage,
                "WORLD_SIZE is " + std::to_string(r.size) +
                    ": RANK (below it), MASTER_ADDR and MASTER_PORT should be set as well");
  }
  // There torchrun keeps a store, in the protocol of its own version of torch: ours is next to it.
  const bool taken = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  r.port = static_cast<std::uint16_t>(port + (taken ? 1 : 0));
  return r;
}

std::shared_ptr<ProcessGroup> join(const Rendezvous& rendezvous, const std::string& backend,
                                   [[maybe_unused]] const torch::Device& device,
                                   [[maybe_unused]] std::int64_t timeout_seconds) {
  if (rendezvous.size == 1) return std::make_shared<Alone>();
#ifdef BLIP_HAS_PROCESSES
  const std::chrono::milliseconds timeout = std::chrono::seconds(timeout_seconds);
  const bool nccl = backend == "nccl" || (backend == "auto" && device.is_cuda());
  std::shared_ptr<ProcessGroup> group;
  together([&] {
    const auto store = open_store(rendezvous, timeout);
    group = std::make_shared<Group>(
        nccl ? open_nccl(rendezvous, store, timeout) : open_gloo(rendezvous, store, timeout),
        rendezvous.rank, rendezvous.size);
  });
  return group;
#else
  throw Error(ErrorCode::unsupported,
              "this build knows one process only: libtorch came without gloo and NCCL (backend " +
                  backend + ")");
#endif
}

}  // namespace blip::train
