// Work: what a step asks of a device or of the interconnect, in shapes, before any time is known.
// The cost model prices it (pricer.h); the profiler measures it; the executor performs it.
// All shapes are LOCAL to one rank, after the parallel split.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "costmodel/units.h"

namespace shardwright {

// y[m,n] = sum over k. The layouts are those of a linear layer with weight w[out,in]:
//   kForward     y[tokens,out]  = x[tokens,in] w^T      (m=tokens, n=out, k=in)
//   kInputGrad   dx[tokens,in]  = dy[tokens,out] w      (m=tokens, n=in,  k=out)
//   kWeightGrad  dw[out,in]    += dy^T x                (m=out,    n=in,  k=tokens)
enum class GemmLayout { kForward, kInputGrad, kWeightGrad };
const char* name_of(GemmLayout layout);  // "forward", "input_grad", "weight_grad"

struct GemmWork {
  GemmLayout layout = GemmLayout::kForward;
  int64_t m = 0, n = 0, k = 0;
  int64_t count = 1;  // equal, independent GEMMs (experts)
  DataType type = DataType::kFp32;
  double flops() const { return 2.0 * count * m * n * k; }
  Bytes bytes() const { return count * size_of(type) * (m * k + n * k + m * n); }
};

// Causal attention over whole sequences; batch sequences of seq tokens on this rank.
struct AttentionWork {
  bool backward = false;
  int64_t batch = 0, seq = 0;
  int64_t heads = 0, kv_heads = 0;
  int64_t head_dim = 0, v_head_dim = 0;
  int64_t window = 0;  // 0 = full causal
  DataType type = DataType::kFp32;
  int64_t cp = 1;  // ranks that share the pairs of each sequence evenly
  // Query-key pairs of one head of one sequence: query i sees min(i + 1, window) keys.
  double pairs() const;
  // Matrix FLOPs of the causal half: forward 2 products; backward 5 (flash: scores are recomputed).
  double flops() const;
  // q, k, v and the output once; backward reads them and writes or reads their gradients: twice.
  Bytes bytes() const;
};

// A pass over memory: every element of [rows, cols] once or a few times.
enum class PassKind {
  kEmbedding,
  kEmbeddingGrad,
  kLayerNorm,
  kLayerNormGrad,
  kRmsNorm,
  kRmsNormGrad,
  kAddNorm,
  kAdd,
  kRope,
  kGelu,
  kGeluGrad,
  kSwiGlu,
  kSwiGluGrad,
  kLossLocal,
  kLossGrad,
  kAdamW,
  kSgd,
  kSquareSum,
  kFill,
  kCopy,
  kQuantise,  // an operand x[rows, cols] of a product to fp8, row by row
  kCount
};
const char* name_of(PassKind kind);  // "embedding", "layer_norm_grad", ...
bool parse_pass_kind(const std::string& name, PassKind* out);

struct PassWork {
  PassKind kind = PassKind::kCopy;
  int64_t rows = 0, cols = 0;
  Bytes bytes = 0;    // read and written in all, the roofline's traffic
  int64_t count = 1;  // equal passes, each launched by itself: the casts of every expert's rows
  int64_t elements() const { return rows * cols; }  // of one
};

enum class CollectiveKind {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kBroadcast,
  kSend,
  kReceive
};
const char* name_of(CollectiveKind kind);  // "all_reduce", ...
bool parse_collective_kind(const std::string& name, CollectiveKind* out);

struct CollectiveWork {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  Axis axis = Axis::kTp;
  Bytes bytes = 0;  // total buffer in the sense of nccl-tests (all-gather: of the gathered result)
  // All-to-all of tokens to experts: `bytes` are one copy of this rank's tokens, each of which goes
  // to `copies` members drawn at random. per_instance: only once to each instance of a level that
  // holds several of them, of which there are at most max_instances (0 = any number).
  int64_t copies = 0;
  bool per_instance = false;
  int64_t max_instances = 0;
};

using Work = std::variant<GemmWork, AttentionWork, PassWork, CollectiveWork>;
std::string describe(const Work& work);  // "gemm forward 512x1152x384", for tables and errors

}  // namespace shardwright
