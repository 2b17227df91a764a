#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace blip {

/// Families of vector instructions that kernels are built for, slowest first. `reference` is the
/// naive scalar path of ops/reference.h: the oracle of all others. `amx` is avx512 with products
/// in tiles.
enum class Isa { reference, baseline, avx2, avx512, amx, neon };

std::string_view name(Isa isa) noexcept;

/// What this build has and this CPU can run, slowest first; starts with `reference`.
std::vector<Isa> supported_isas();

/// What kernels run on now: the best supported one, or what the environment variable BLIP_ISA
/// names (reference, baseline, avx2, avx512, amx, neon), or what force_isa() set last.
/// Throws Error{usage} when BLIP_ISA names an unknown or unsupported one.
Isa active_isa();

/// Makes every later call use `isa`, oneDNN as far as it still allows (its choice is fixed at its
/// first call). For tests and comparisons; not while another thread computes.
/// Throws Error{usage} when this CPU or build lacks it.
void force_isa(Isa isa);

/// Vector extensions of this CPU by name ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile"...),
/// for reports.
std::vector<std::string_view> cpu_features();
/// Whether one of them is called so.
bool has_feature(std::string_view wanted);

}  // namespace blip
