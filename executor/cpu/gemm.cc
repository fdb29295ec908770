// Matrix products. The forward product is a cached matmul primitive, whose bias costs nothing; the
// gradients are plain sgemm calls, which is the faster of the library's two ways for them and adds
// into dw without a temporary.
#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>

#include "executor/cpu/cpu_ops.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/exec_error.h"

namespace shardwright {

// y = x w^T (+ bias) primitives by shape.
class MatmulCache {
 public:
  void run(const float* x, const float* w, const float* bias, float* y, int64_t T, int64_t in,
           int64_t out);

 private:
  struct Entry {
    dnnl::matmul primitive;
    dnnl::memory x, w, bias, y;
  };
  Entry& find(int64_t T, int64_t in, int64_t out, bool has_bias);

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<std::tuple<int64_t, int64_t, int64_t, bool>, Entry> entries_;
};

MatmulCache::Entry& MatmulCache::find(int64_t T, int64_t in, int64_t out, bool has_bias) {
  const auto key = std::make_tuple(T, in, out, has_bias);
  const auto found = entries_.find(key);
  if (found != entries_.end()) return found->second;

  using Desc = dnnl::memory::desc;
  const auto fp32 = dnnl::memory::data_type::f32;
  const Desc x({T, in}, fp32, dnnl::memory::dims{in, 1});
  const Desc w({in, out}, fp32, dnnl::memory::dims{1, in});  // stored [out, in]: transposed view
  const Desc bias({1, out}, fp32, dnnl::memory::dims{out, 1});
  const Desc y({T, out}, fp32, dnnl::memory::dims{out, 1});
  const dnnl::matmul::desc work =
      has_bias ? dnnl::matmul::desc(x, w, bias, y) : dnnl::matmul::desc(x, w, y);
  const auto view = [&](const Desc& desc) { return dnnl::memory(desc, engine_, nullptr); };
  Entry entry{dnnl::matmul(dnnl::matmul::primitive_desc(work, engine_)), view(x), view(w),
              view(bias), view(y)};
  return entries_.emplace(key, std::move(entry)).first->second;
}

void MatmulCache::run(const float* x, const float* w, const float* bias, float* y, int64_t T,
                      int64_t in, int64_t out) {
  Entry& entry = find(T, in, out, bias != nullptr);
  entry.x.set_data_handle(const_cast<float*>(x));
  entry.w.set_data_handle(const_cast<float*>(w));
  entry.y.set_data_handle(y);
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, entry.x}, {DNNL_ARG_WEIGHTS, entry.w}, {DNNL_ARG_DST, entry.y}};
  if (bias != nullptr) {
    entry.bias.set_data_handle(const_cast<float*>(bias));
    arguments.emplace(DNNL_ARG_BIAS, entry.bias);
  }
  entry.primitive.execute(stream_, arguments);
  stream_.wait();
}

namespace {

// c[m,n] = op(a) op(b) + beta c; the thread count is a property of the calling thread, and a rank's
// Ops may have been made by another one.
void sgemm(int rank, const char* where, char trans_a, int64_t m, int64_t n, int64_t k,
           const float* a, int64_t lda, const float* b, float beta, float* c) {
  omp_set_num_threads(1);
  const dnnl_status_t status = dnnl_sgemm(trans_a, 'N', m, n, k, 1.0f, a, lda, b, n, beta, c, n);
  if (status != dnnl_success) {
    throw ExecError(rank, where, "sgemm returned status " + std::to_string(status));
  }
}

}  // namespace

CpuOps::CpuOps(int rank)
    : rank_(rank),
      allocator_(rank),
      host_blocks_(rank),
      scratch_allocator_(rank),
      matmuls_(std::make_unique<MatmulCache>()) {
  omp_set_num_threads(1);
}

CpuOps::~CpuOps() = default;

float* CpuOps::scratch(int64_t elements) {
  if (elements > scratch_elements_) {
    scratch_allocator_.free(scratch_);
    scratch_ = nullptr;
    scratch_elements_ = 0;
    scratch_ = static_cast<float*>(
        scratch_allocator_.allocate(elements * static_cast<Bytes>(sizeof(float))));
    scratch_elements_ = elements;
  }
  return scratch_;
}

std::unique_ptr<Ops> make_cpu_ops(int rank) { return std::make_unique<CpuOps>(rank); }

void CpuOps::linear(const float* x, const float* w, const float* bias, float* y, int64_t T,
                    int64_t in, int64_t out) {
  if (T == 0) return;
  omp_set_num_threads(1);
  try {
    matmuls_->run(x, w, bias, y, T, in, out);
  } catch (const dnnl::error& error) {
    throw ExecError(rank_, "linear", error.what());
  }
}

void CpuOps::linear_input_grad(const float* dy, const float* w, float* dx, int64_t T, int64_t in,
                               int64_t out) {
  if (T > 0) sgemm(rank_, "linear_input_grad", 'N', T, in, out, dy, out, w, 0.0f, dx);
}

void CpuOps::linear_weight_grad(const float* dy, const float* x, float* dw, float* dbias, int64_t T,
                                int64_t in, int64_t out) {
  if (T == 0) return;
  sgemm(rank_, "linear_weight_grad", 'T', out, in, T, dy, out, x, 1.0f, dw);
  if (dbias != nullptr) column_sum(dy, dbias, T, out);
}

}  // namespace shardwright
