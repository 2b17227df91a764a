#pragma once

// For code that runs on AVX-512 alone, beyond what Highway knows: intrinsics, and the attributes of
// functions that use them. Whoever calls these asks first whether active_isa() and the CPU have it.

#if defined(__x86_64__) && defined(__linux__)
// GCC 12 warns of its own header, also where that is inlined (bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#define BLIP_HAS_AVX512 1
#define BLIP_AVX512_CODE __attribute__((target("avx512f,avx512bw")))
#define BLIP_DOT_CODE __attribute__((target("avx512f,avx512bw,avx512bf16,avx512vnni")))
#define BLIP_TILE_CODE __attribute__((target("avx512f,avx512bw,amx-tile,amx-int8,amx-bf16")))
#else
#define BLIP_HAS_AVX512 0
#endif
