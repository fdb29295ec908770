// Matrix products by cuBLASLt. It counts in columns: a row-major [r, c] matrix is its column-major
// [c, r] one, so c = op(a) op(b) is computed as c^T = op(b)^T op(a)^T, with b as the library's A
// and a as its B, without moving anything.
#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string>
#include <vector>

#include "executor/cuda/cuda_check.h"
#include "executor/cuda/matmul.h"

namespace shardwright {
namespace {

using Extra = MatmulShape::Extra;

// Of the library's list, which is ordered by its own estimate of time.
constexpr int kCandidates = 8;
constexpr int kTimedRuns = 5;  // of each candidate, after one that is not timed
// Memory that is timed holds this byte: bf16 and fp32 of it are small ordinary numbers.
constexpr int kTunePattern = 0x3c;
constexpr int kMostAlignment = 256;  // more helps no kernel

cudaDataType_t native(DataType type) { return type == DataType::kFp32 ? CUDA_R_32F : CUDA_R_16BF; }

int alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | kMostAlignment;
  return 1 << std::countr_zero(address);
}

// Of what an extra reads or writes beside the product; null counts as aligned.
int extra_alignment(const MatmulOperands& operands) {
  return std::min({alignment_of(operands.bias), alignment_of(operands.sums),
                   alignment_of(operands.gelu_input)});
}

// Weights lie anywhere in their flat buffer, so kernels that may be used depend on the operands.
struct Key {
  MatmulShape shape;
  int a_alignment, b_alignment, c_alignment, extra_alignment;
  auto operator<=>(const Key&) const = default;
};

bool has_gelu(const MatmulShape& shape) {
  return shape.extra == Extra::kGelu || shape.extra == Extra::kGeluGrad;
}

struct Plan {
  cublasLtMatmulDesc_t work = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> candidates;  // empty: the library cannot
  size_t chosen = 0;
};

class CublasMatmul final : public Matmul {
 public:
  explicit CublasMatmul(Device& device) : device_(device) {
    device_.make_current();
    check("cublasLtCreate", cublasLtCreate(&library_));
  }
  ~CublasMatmul() override;

  bool can(const MatmulShape& shape, const MatmulOperands& operands, Workspace workspace) override {
    if (has_gelu(shape) && !gelu_fits(shape, operands)) return false;
    return !find(shape, operands, workspace).candidates.empty();
  }
  void run(const MatmulShape& shape, const MatmulOperands& operands, Workspace workspace,
           Stream stream) override;
  void tune(Workspace workspace, Stream stream, const std::function<void*(Bytes)>& take,
            const std::function<void(void*)>& give_back) override;

 private:
  void check(const char* call, cublasStatus_t status) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw ExecError(device_.rank(), call, cublasLtGetStatusString(status));
  }
  template <typename T>
  void set(cublasLtMatmulDesc_t work, cublasLtMatmulDescAttributes_t name, const T& value) const {
    check("cublasLtMatmulDescSetAttribute",
          cublasLtMatmulDescSetAttribute(work, name, &value, sizeof(value)));
  }
  cublasLtMatrixLayout_t layout(DataType type, int64_t rows, int64_t columns) const;
  void set_extra(const Plan& plan, const MatmulShape& shape, const MatmulOperands& operands) const;
  void set_gelu(const Plan& plan, const MatmulShape& shape, const MatmulOperands& operands) const;
  Plan make_plan(const MatmulShape& shape) const;
  void list_candidates(const Key& key, Workspace workspace, Plan* plan) const;
  Plan& find(const MatmulShape& shape, const MatmulOperands& operands, Workspace workspace);
  cublasStatus_t multiply(const Plan& plan, size_t candidate, const MatmulShape& shape,
                          const MatmulOperands& operands, Workspace workspace, Stream stream) const;
  void time_candidates(const MatmulShape& shape, const MatmulOperands& operands,
                       Workspace workspace, Stream stream, Plan* plan);

  Device& device_;
  cublasLtHandle_t library_ = nullptr;
  std::map<Key, Plan> plans_;
  std::vector<Key> untimed_;
};

CublasMatmul::~CublasMatmul() {
  for (auto& [key, plan] : plans_) {
    cublasLtMatmulDescDestroy(plan.work);
    for (auto layout : {plan.first, plan.second, plan.result}) cublasLtMatrixLayoutDestroy(layout);
  }
  cublasLtDestroy(library_);
}

// Of a row-major [rows, columns] matrix.
cublasLtMatrixLayout_t CublasMatmul::layout(DataType type, int64_t rows, int64_t columns) const {
  cublasLtMatrixLayout_t out = nullptr;
  check("cublasLtMatrixLayoutCreate",
        cublasLtMatrixLayoutCreate(&out, native(type), static_cast<uint64_t>(columns),
                                   static_cast<uint64_t>(rows), columns));
  return out;
}

Plan CublasMatmul::make_plan(const MatmulShape& s) const {
  Plan plan;
  check("cublasLtMatmulDescCreate",
        cublasLtMatmulDescCreate(&plan.work, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto operation = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(plan.work, CUBLASLT_MATMUL_DESC_TRANSA, operation(s.transpose_b));
  set(plan.work, CUBLASLT_MATMUL_DESC_TRANSB, operation(s.transpose_a));
  plan.first = s.transpose_b ? layout(s.in, s.n, s.k) : layout(s.in, s.k, s.n);
  plan.second = s.transpose_a ? layout(s.in, s.k, s.m) : layout(s.in, s.m, s.k);
  plan.result = layout(s.out, s.m, s.n);
  return plan;
}

// The library's result is c^T [n, m]: a bias of c's columns is one of its rows, and the rows of
// op(a) are the columns of its B, whose sums it calls the bias gradient.
void CublasMatmul::set_extra(const Plan& plan, const MatmulShape& shape,
                             const MatmulOperands& operands) const {
  if (shape.extra == Extra::kNone) return;
  if (has_gelu(shape)) return set_gelu(plan, shape, operands);
  const bool sums = shape.extra == Extra::kRowSums;
  const void* pointer = sums ? operands.sums : operands.bias;
  set(plan.work, CUBLASLT_MATMUL_DESC_EPILOGUE,
      sums ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_BIAS);
  set(plan.work, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
      static_cast<int32_t>(sums ? CUDA_R_32F : native(shape.out)));
  set(plan.work, CUBLASLT_MATMUL_DESC_BIAS_POINTER, pointer);
}

// The library's GELU is the form with tanh: PyTorch (_addmm_activation) and XLA (its rewriter of
// products) put it in the place of that form and of no other. Its other name for the input is the
// auxiliary matrix, of the type of the result where nothing else is said.
void CublasMatmul::set_gelu(const Plan& plan, const MatmulShape& shape,
                            const MatmulOperands& operands) const {
  const bool forward = shape.extra == Extra::kGelu;
  set(plan.work, CUBLASLT_MATMUL_DESC_EPILOGUE,
      forward ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_DGELU);
  set(plan.work, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.gelu_input);
  set(plan.work, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, shape.n);
  if (!forward) return;
  set(plan.work, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(native(shape.out)));
  set(plan.work, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
}

void CublasMatmul::list_candidates(const Key& key, Workspace workspace, Plan* plan) const {
  cublasLtMatmulPreference_t wishes = nullptr;
  check("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(&wishes));
  const auto wish = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    check("cublasLtMatmulPreferenceSetAttribute",
          cublasLtMatmulPreferenceSetAttribute(wishes, name, &value, sizeof(value)));
  };
  const auto alignment = [](int bytes) { return static_cast<uint32_t>(bytes); };
  wish(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace.bytes));
  wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(key.b_alignment));
  wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(key.a_alignment));
  wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(key.c_alignment));
  wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(key.c_alignment));
  plan->candidates.resize(kCandidates);
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library_, plan->work, plan->first, plan->second, plan->result, plan->result, wishes,
      kCandidates, plan->candidates.data(), &found);
  cublasLtMatmulPreferenceDestroy(wishes);
  // "Not supported" and an empty list both mean that there is none.
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check("cublasLtMatmulAlgoGetHeuristic", status);
  plan->candidates.resize(static_cast<size_t>(status == CUBLAS_STATUS_SUCCESS ? found : 0));
  std::erase_if(plan->candidates, [](const cublasLtMatmulHeuristicResult_t& candidate) {
    return candidate.state != CUBLAS_STATUS_SUCCESS;
  });
}

Plan& CublasMatmul::find(const MatmulShape& shape, const MatmulOperands& operands,
                         Workspace workspace) {
  const Key key{shape, alignment_of(operands.a), alignment_of(operands.b), alignment_of(operands.c),
                extra_alignment(operands)};
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  Plan& plan = plans_.emplace(key, make_plan(shape)).first->second;
  set_extra(plan, shape, operands);
  list_candidates(key, workspace, &plan);
  if (plan.candidates.size() > 1) untimed_.push_back(key);
  return plan;
}

cublasStatus_t CublasMatmul::multiply(const Plan& plan, size_t candidate, const MatmulShape& shape,
                                      const MatmulOperands& operands, Workspace workspace,
                                      Stream stream) const {
  const float alpha = 1.0f, beta = shape.accumulate ? 1.0f : 0.0f;
  set_extra(plan, shape, operands);
  return cublasLtMatmul(library_, plan.work, &alpha, operands.b, plan.first, operands.a,
                        plan.second, &beta, operands.c, plan.result, operands.c, plan.result,
                        &plan.candidates[candidate].algo, workspace.start,
                        static_cast<size_t>(workspace.bytes),
                        reinterpret_cast<cudaStream_t>(stream));
}

void CublasMatmul::run(const MatmulShape& shape, const MatmulOperands& operands,
                       Workspace workspace, Stream stream) {
  device_.make_current();
  const Plan& plan = find(shape, operands, workspace);
  if (plan.candidates.empty()) {
    throw ExecError(device_.rank(), "cublasLtMatmulAlgoGetHeuristic",
                    "no way to multiply [" + std::to_string(shape.m) + "," +
                        std::to_string(shape.k) + "] by [" + std::to_string(shape.k) + "," +
                        std::to_string(shape.n) + "] in " + name_of(shape.in));
  }
  check("cublasLtMatmul", multiply(plan, plan.chosen, shape, operands, workspace, stream));
}

void CublasMatmul::tune(Workspace workspace, Stream stream, const std::function<void*(Bytes)>& take,
                        const std::function<void(void*)>& give_back) {
  for (const Key& key : std::exchange(untimed_, {})) {
    const MatmulShape& s = key.shape;
    const Bytes sizes[] = {s.m * s.k * size_of(s.in), s.k * s.n * size_of(s.in),
                           s.m * s.n * size_of(s.out), std::max(s.m, s.n) * 4,
                           has_gelu(s) ? s.m * s.n * size_of(s.out) : 0};
    void* blocks[std::size(sizes)] = {};
    bool all = true;
    for (size_t i = 0; i < std::size(sizes); ++i) {
      if (sizes[i] == 0) continue;
      blocks[i] = take(sizes[i]);
      if (blocks[i] == nullptr) {
        all = false;
      } else {
        device_.set_bytes(blocks[i], kTunePattern, sizes[i], stream);
      }
    }
    const MatmulOperands operands{
        blocks[0], blocks[1], blocks[2], blocks[3], static_cast<float*>(blocks[3]), blocks[4]};
    if (all) time_candidates(s, operands, workspace, stream, &plans_.at(key));
    for (void* block : blocks) {
      if (block != nullptr) give_back(block);
    }
  }
}

void CublasMatmul::time_candidates(const MatmulShape& shape, const MatmulOperands& operands,
                                   Workspace workspace, Stream stream, Plan* plan) {
  const Event from = device_.create_event(true), to = device_.create_event(true);
  double best_ns = 0;
  bool found = false;
  for (size_t i = 0; i < plan->candidates.size(); ++i) {
    const auto once = [&] { return multiply(*plan, i, shape, operands, workspace, stream); };
    if (once() != CUBLAS_STATUS_SUCCESS) continue;  // the library's list is a guess
    device_.record(from, stream);
    for (int run = 0; run < kTimedRuns; ++run) check("cublasLtMatmul", once());
    device_.record(to, stream);
    device_.synchronize(stream);
    const double ns = device_.elapsed_ns(from, to);
    if (found && ns >= best_ns) continue;
    found = true;
    best_ns = ns;
    plan->chosen = i;
  }
  device_.destroy_event(from);
  device_.destroy_event(to);
}

}  // namespace

std::unique_ptr<Matmul> make_matmul(Device& device) {
  return std::make_unique<CublasMatmul>(device);
}

}  // namespace shardwright
