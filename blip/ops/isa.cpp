#include "blip/ops/isa.h"

#include <hwy/targets.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

struct IsaInfo {
  Isa isa;
  std::string_view name;
  std::int64_t targets;  ///< Highway targets that belong to it
};

constexpr IsaInfo kIsas[] = {
    {Isa::reference, "reference", 0},
#if defined(__x86_64__)
    {Isa::baseline, "baseline", HWY_SSSE3 | HWY_SSE4},
    {Isa::avx2, "avx2", HWY_AVX2},
    {Isa::avx512, "avx512", HWY_AVX3 | HWY_AVX3_DL},
    {Isa::amx, "amx", 0},
#else
    {Isa::neon, "neon", HWY_NEON},
#endif
};

constexpr std::int64_t kAllTargets = [] {
  std::int64_t all = 0;
  for (const IsaInfo& info : kIsas) all |= info.targets;
  return all;
}();

std::atomic<int> g_active{-1};

const IsaInfo* find_isa(std::string_view wanted) {
  for (const IsaInfo& info : kIsas) {
    if (info.name == wanted) return &info;
  }
  return nullptr;
}

/// Highway's dispatch and oneDNN's follow `isa`.
void apply(Isa isa) {
  std::int64_t allowed = 0;
  for (const IsaInfo& info : kIsas) {
    if (info.isa <= isa) allowed |= info.targets;
  }
  // Scalar emulation stays allowed: Highway needs at least one target.
  hwy::DisableTargets(0);
  const std::int64_t supported = hwy::SupportedTargets();
  if ((supported & allowed) != 0) hwy::DisableTargets(supported & kAllTargets & ~allowed);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
#if defined(__x86_64__)
  if (isa == Isa::baseline || isa == Isa::reference) {
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
  } else if (isa == Isa::avx2) {
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  } else if (isa == Isa::avx512) {
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
  }
#endif
  g_active.store(static_cast<int>(isa));
}

/// The supported set does not change when one is forced, so it is taken once, before.
const std::vector<Isa>& supported_list() {
  static const std::vector<Isa> list = [] {
    std::vector<Isa> found = {Isa::reference};
    const std::int64_t targets = hwy::SupportedTargets();
    for (const IsaInfo& info : kIsas) {
      if ((targets & info.targets) != 0) found.push_back(info.isa);
    }
    if (found.back() == Isa::avx512 && has_feature("amx_int8")) found.push_back(Isa::amx);
    return found;
  }();
  return list;
}

Isa initial_isa() {
  const std::vector<Isa>& supported = supported_list();
  const char* wanted = std::getenv("BLIP_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported.back();
  const IsaInfo* info = find_isa(wanted);
  if (info == nullptr ||
      std::find(supported.begin(), supported.end(), info->isa) == supported.end()) {
    std::string names;
    for (const Isa isa : supported) names += " " + std::string(name(isa));
    throw Error(ErrorCode::usage,
                "BLIP_ISA=" + in_quotes(wanted) + " is not one of those that run here:" + names);
  }
  return info->isa;
}

}  // namespace

std::string_view name(Isa isa) noexcept {
  for (const IsaInfo& info : kIsas) {
    if (info.isa == isa) return info.name;
  }
  return "unknown";
}

std::vector<Isa> supported_isas() {
  return supported_list();
}

Isa active_isa() {
  const int active = g_active.load(std::memory_order_relaxed);
  if (active >= 0) return static_cast<Isa>(active);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (g_active.load() < 0) apply(initial_isa());
  return static_cast<Isa>(g_active.load());
}

void force_isa(Isa isa) {
  const std::vector<Isa>& supported = supported_list();
  if (std::find(supported.begin(), supported.end(), isa) == supported.end()) {
    throw Error(ErrorCode::usage, std::string(name(isa)) + " does not run on this CPU");
  }
  apply(isa);
}

bool has_feature(std::string_view wanted) {
  const std::vector<std::string_view> features = cpu_features();
  return std::find(features.begin(), features.end(), wanted) != features.end();
}

std::vector<std::string_view> cpu_features() {
  std::vector<std::string_view> found;
#if defined(__x86_64__)
  struct Feature {
    std::string_view name;
    unsigned leaf, subleaf;
    int cpuid_register, bit;  // registers: eax, ebx, ecx, edx
  };
  constexpr Feature kFeatures[] = {
      {"sse4.1", 1, 0, 2, 19},   {"avx", 1, 0, 2, 28},         {"fma", 1, 0, 2, 12},
      {"avx2", 7, 0, 1, 5},      {"avx_vnni", 7, 1, 0, 4},     {"avx512f", 7, 0, 1, 16},
      {"avx512bw", 7, 0, 1, 30}, {"avx512_vnni", 7, 0, 2, 11}, {"avx512_bf16", 7, 1, 0, 5},
      {"amx_tile", 7, 0, 3, 24}, {"amx_int8", 7, 0, 3, 25},    {"amx_bf16", 7, 0, 3, 22},
  };
  for (const Feature& feature : kFeatures) {
    unsigned registers[4] = {};
    if (__get_cpuid_count(feature.leaf, feature.subleaf, &registers[0], &registers[1],
                          &registers[2], &registers[3]) != 0 &&
        (registers[feature.cpuid_register] >> feature.bit & 1u) != 0) {
      found.push_back(feature.name);
    }
  }
#else
  found.push_back("neon");
#endif
  return found;
}

}  // namespace blip
