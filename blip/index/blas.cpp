// faiss calls BLAS and LAPACK by their Fortran names. Only one product is ever asked for here, by
// k-means, and it runs on oneDNN as every other product of the program does. A BLAS library would
// bring a second pool of threads and milliseconds to each start of the program (OpenBLAS), or take
// fourteen times as long (the reference one).
#include <cstddef>

#include "blip/base/error.h"
#include "blip/ops/matmul.h"

namespace {

[[noreturn]] void not_here(const char* name) {
  throw blip::Error(blip::ErrorCode::internal,
                    std::string("faiss called ") + name + ", which this program leaves out");
}

}  // namespace

extern "C" {

// Column-major c [m, n] = a^T b with a [k, m] and b [k, n]: row-major c [n, m] = b a^T.
int sgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
           const int* k, const float* alpha, const float* a, const int* lda, const float* b,
           const int* ldb, const float* beta, float* c, const int* ldc) {
  const auto size = [](const int* value) { return static_cast<std::size_t>(*value); };
  if ((*transpose_a != 'T' && *transpose_a != 't') ||
      (*transpose_b != 'N' && *transpose_b != 'n') || *alpha != 1.0f || *beta != 0.0f) {
    not_here("another form of sgemm");
  }
  blip::matmul({b, size(n), size(k), size(ldb)}, {a, size(m), size(k), size(lda)}, true,
               {c, size(n), size(m), size(ldc)});
  return 0;
}

// What faiss' quantisers and rotations would need.
int ssyrk_() {
  not_here("ssyrk");
}
int dgemm_() {
  not_here("dgemm");
}
int sgeqrf_() {
  not_here("sgeqrf");
}
int sorgqr_() {
  not_here("sorgqr");
}
int sgesvd_() {
  not_here("sgesvd");
}
int dgesvd_() {
  not_here("dgesvd");
}
int dsyev_() {
  not_here("dsyev");
}

}  // extern "C"
