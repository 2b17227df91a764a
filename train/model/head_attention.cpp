#include "train/model/head_attention.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR < 2

#include <cmath>

// C's form, not Fortran's sgemm_: a program with the engine has one of its own
// (blip/index/blas.cpp).
extern "C" void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k,
                            float alpha, const float* a, int lda, const float* b, int ldb,
                            float beta, float* c, int ldc);

namespace blip::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Of cblas.h.
constexpr int kRowMajor = 101, kAsIs = 111, kTransposed = 112;

/// Matrices [rows, columns], one per picture or text and head, in one tensor.
struct Heads {
  float* data;
  std::int64_t batch_stride, head_stride;
  int row_stride;

  float* at(std::int64_t batch, std::int64_t head) const {
    return data + batch * batch_stride + head * head_stride;
  }
};

/// Of x [B, T, H d], whose last dimension is dense: [T, d] each.
Heads token_heads(const Tensor& x, std::int64_t heads) {
  return {x.data_ptr<float>(), x.stride(0), x.size(2) / heads, static_cast<int>(x.stride(1))};
}

/// Of scores [B, H, T, S]: [T, S] each.
Heads score_heads(const Tensor& scores) {
  return {scores.data_ptr<float>(), scores.stride(0), scores.stride(1),
          static_cast<int>(scores.size(3))};
}

struct Sizes {
  std::int64_t batch, heads;
  int queries, keys, width;  // T, S, d
};

/// What a head's product is: [m, k] times [k, n], sides transposed or as they are.
struct Product {
  int left, right;  // kAsIs, kTransposed
  int m, n, k;
};

/// to = alpha x y for each head.
void multiply(const Sizes& sizes, const Product& p, float alpha, const Heads& x, const Heads& y,
              const Heads& to) {
  at::parallel_for(0, sizes.batch * sizes.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / sizes.heads, h = i % sizes.heads;
      cblas_sgemm(kRowMajor, p.left, p.right, p.m, p.n, p.k, alpha, x.at(b, h), x.row_stride,
                  y.at(b, h), y.row_stride, 0, to.at(b, h), to.row_stride);
    }
  });
}

/// scores [T, S] = alpha x [T, d] y^T [d, S]
void to_scores(const Sizes& sizes, float alpha, const Heads& x, const Heads& y,
               const Heads& scores) {
  multiply(sizes, {kAsIs, kTransposed, sizes.queries, sizes.keys, sizes.width}, alpha, x, y,
           scores);
}

/// to [T, d] = alpha scores [T, S] y [S, d]
void from_scores(const Sizes& sizes, float alpha, const Heads& scores, const Heads& y,
                 const Heads& to) {
  multiply(sizes, {kAsIs, kAsIs, sizes.queries, sizes.width, sizes.keys}, alpha, scores, y, to);
}

/// to [S, d] = alpha scores^T [S, T] x [T, d]
void from_transposed(const Sizes& sizes, float alpha, const Heads& scores, const Heads& x,
                     const Heads& to) {
  multiply(sizes, {kTransposed, kAsIs, sizes.keys, sizes.width, sizes.queries}, alpha, scores, x,
           to);
}

Sizes sizes_of(const Tensor& q, const Tensor& k, std::int64_t heads) {
  return {q.size(0), heads, static_cast<int>(q.size(1)), static_cast<int>(k.size(1)),
          static_cast<int>(q.size(2) / heads)};
}

Tensor dense(const Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) >= x.size(2) ? x : x.contiguous();
}

class HeadAttention : public torch::autograd::Function<HeadAttention> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q_in, const Tensor& k_in,
                        const Tensor& v_in, const Tensor& mask, std::int64_t heads,
                        double dropout) {
    const Tensor q = dense(q_in), k = dense(k_in), v = dense(v_in);
    const Sizes sizes = sizes_of(q, k, heads);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes.width)));
    Tensor scores = torch::empty({sizes.batch, heads, sizes.queries, sizes.keys}, q.options());
    to_scores(sizes, scale, token_heads(q, heads), token_heads(k, heads), score_heads(scores));
    if (mask.numel() > 0) scores.add_(mask);
    const Tensor probabilities = scores.softmax(-1);
    Tensor kept;  // which probabilities dropout keeps, scaled: empty without dropout
    if (dropout > 0) {
      kept = torch::empty_like(probabilities).bernoulli_(1 - dropout).div_(1 - dropout);
    } else {
      kept = torch::empty({0}, q.options());
    }
    const Tensor used = dropout > 0 ? at::mul_out(scores, probabilities, kept) : probabilities;
    Tensor out = torch::empty(q.sizes(), q.options());
    from_scores(sizes, 1, score_heads(used), token_heads(v, heads), token_heads(out, heads));
    context->save_for_backward({q, k, v, probabilities, kept});
    context->saved_data["heads"] = heads;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &probabilities = saved[3],
                 &kept = saved[4];
    const std::int64_t heads = context->saved_data["heads"].toInt();
    const Sizes sizes = sizes_of(q, k, heads);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes.width)));
    const Tensor gradient = dense(gradients[0]);
    const Heads out = token_heads(gradient, heads);

    const bool dropped = kept.numel() > 0;
    const Tensor used = dropped ? probabilities * kept : probabilities;
    Tensor to_v = torch::empty(v.sizes(), v.options());
    from_transposed(sizes, 1, score_heads(used), out, token_heads(to_v, heads));
    Tensor to_probabilities = torch::empty_like(probabilities);
    to_scores(sizes, 1, out, token_heads(v, heads), score_heads(to_probabilities));
    if (dropped) to_probabilities.mul_(kept);
    const Tensor to_scores_ =
        at::_softmax_backward_data(to_probabilities, probabilities, -1, torch::kFloat);
    Tensor to_q = torch::empty(q.sizes(), q.options()), to_k = torch::empty(k.sizes(), k.options());
    from_scores(sizes, scale, score_heads(to_scores_), token_heads(k, heads),
                token_heads(to_q, heads));
    from_transposed(sizes, scale, score_heads(to_scores_), token_heads(q, heads),
                    token_heads(to_k, heads));
    return {to_q, to_k, to_v, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor head_attention(const Tensor& q, const Tensor& k, const Tensor& v, int heads,
                      const Tensor& mask, double dropout) {
  return HeadAttention::apply(q, k, v, mask.defined() ? mask : torch::empty({0}, q.options()),
                              std::int64_t{heads}, dropout);
}

}  // namespace blip::train

#endif
