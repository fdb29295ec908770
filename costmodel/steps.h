// Steps: the kernels and tensor-parallel collectives that a compute instruction consists of, in
// order.
//
// This list is the only place that knows which operations a transformer layer performs. The cost
// model sums the time of its Work; the executor walks the same list and performs each step by its
// name, so a step that is not listed is neither predicted nor executed.
//
// Residual stream x is [tokens, hidden], replicated over tp. tokens = micro_batch * seq.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costmodel/kernels.h"
#include "costmodel/model_spec.h"
#include "costmodel/split.h"
#include "costmodel/work.h"

namespace shardwright {

enum class StepOp : uint8_t {
  kEmbed,         // x = token embedding (+ positions); vocabulary-parallel: zero for foreign tokens
  kEmbedReduce,   // all-reduce x over tp
  kNorm1,         // n1 = norm(x)
  kQkv,           // qkv = n1 Wqkv^T + b, column-parallel by heads
  kLatentDown,    // multi-head latent attention: queries and keys/values to their low ranks
  kLatentUp,      // and up again, column-parallel by heads
  kQkNorm,        // norm of each query and key head
  kRope,          // rotate q and k in place
  kAttention,     // a = softmax(q k^T) v, statistics kept
  kAttentionOut,  // y = a Wo^T, row-parallel partial sum
  kAttentionReduce,  // all-reduce y over tp; backward: the gradient of n1
  kPostNorm,         // norm of a branch's output before it joins the residual (gemma2)
  kAddNorm2,         // x2 = x + y + b; n2 = norm(x2)
  kRouter,           // expert scores
  kDispatch,         // tokens to the order of their experts
  kMlpUp,            // u = n2 Wup^T, column-parallel; gated: gate and up in one product
  kActivation,       // g = gelu(u + b) or silu(gate) * up
  kMlpDown,          // d = g Wdown^T, row-parallel partial sum
  kExpertUp,         // the same three for the routed experts, one product per expert
  kExpertActivation,
  kExpertDown,
  kCombine,     // experts' outputs back to token order, weighted
  kMlpReduce,   // all-reduce d over tp; backward: the gradient of n2
  kAdd,         // x = x2 + d + b
  kFinalNorm,   // nf = norm(x)
  kLogits,      // z = nf Whead^T, vocabulary-parallel
  kLoss,        // per token: local max, sum of exponentials, target logit; backward: dz in place
  kLossReduce,  // gather the three over tp and combine
  kHeadReduce,  // backward only: all-reduce the gradient of nf over tp
  // Only in plans and software beyond what the executor runs.
  kSequenceGather,   // sequence parallel: the whole sequence before a column-parallel product
  kContextExchange,  // context parallel: keys and values around the ring, or heads for sequence
  kScores,           // q k^T as a product of its own
  kSoftmax,          // mask and softmax over [heads, T, T] in memory
  kContext,          // probabilities times v
  kQuantise,         // operands of a product to fp8 or nvfp4
  kAccumulate,       // weight gradients added to fp32 main gradients
  kExpertExchange,   // all-to-all: tokens to their experts' ranks
  kExpertReturn,     // and back
  kListed,           // an operation of a layer given by its operations
  kMtp,              // multi-token prediction: the projection of two streams into one
  // Outside of chunks.
  kLoad,  // tokens and targets of one microbatch
  kSend,
  kReceive,
  kGradientReduce,  // over dp
  kTiedReduce,      // gradient of a tied embedding between first and last stage
  kSquareSum,       // of the local gradients
  kNormReduce,      // sum of squares and loss over all ranks
  kUpdate,          // optimizer
  kZeroGradients,
  kCount
};

// Which part of a layer's work a step belongs to. Backward of a matrix product is split into the
// gradient of its input and of its weight, so that schedules may delay the latter.
enum class Phase : uint8_t { kForward, kRecompute, kBackwardInput, kBackwardWeight };

struct Step {
  StepOp op = StepOp::kEmbed;
  Phase phase = Phase::kForward;
  int64_t layer = -1;  // global layer index; -1 for embedding and head
  Work work;
};

const char* name_of(StepOp op);         // "qkv"
const char* name_of(Phase phase);       // "forward", "recompute", "backward", "backward_weight"
std::string kind_of(const Step& step);  // "qkv.forward": the key of tables by Step kind

// What one rank holds of the model, and how: enough to list steps and memory.
struct ChunkShape {
  int64_t first_layer = 0, num_layers = 0;
  bool embedding = false;  // this chunk starts with the embedding
  bool head = false;       // this chunk ends with final norm, logits and loss
  int64_t mtp_layers =
      0;  // multi-token-prediction modules that follow, each with a head of its own
  int64_t tp = 1;
  Split split;
  Kernels kernels;
  int64_t micro_batch = 1;  // sequences
  int64_t seq = 0;          // tokens of a sequence, all cp ranks together
  bool recompute = false;   // full: keep each layer's input only, redo its forward in the backward
  int64_t recompute_layers = 0;     // full: of this many layers of the chunk only; 0 = all
  uint32_t recompute_modules = 0;   // when not full: parts of every layer (RecomputeModule)
  DataType type = DataType::kFp32;  // of the layers' products; all is stored in storage_of(type)
  DataType gradient_type = DataType::kFp32;  // of accumulated gradients of weights
  int64_t tokens() const { return micro_batch * seq / split.cp; }  // on one rank
};

// Vocabulary rows per rank: the smallest equal share that covers the vocabulary, in multiples of
// model.vocab_multiple. Rows past the vocabulary are padding: the last ranks may hold nothing else.
int64_t padded_vocab_share(const ModelSpec& model, int64_t tp);
// The multiple where a vocabulary is padded: rows and columns of all products with it then keep to
// tensor cores' tiles and to 16 bytes. Megatron-LM's default (--make-vocab-size-divisible-by).
inline constexpr int64_t kPaddedVocabMultiple = 128;

// Parts of a chunk, for those who need each once and not the whole list: every layer of one kind
// has the same steps. `layer` counts for kLayer only.
// kMtp: what a multi-token-prediction module has before its layer and its use of the head.
enum class ChunkPart { kEmbedding, kLayer, kHead, kMtp };
// kRecompute: the part of one layer's forward that its backward computes again.
void append_recompute(const ModelSpec& model, const ChunkShape& chunk, int64_t layer,
                      std::vector<Step>* out);
void append_forward(const ModelSpec& model, const ChunkShape& chunk, ChunkPart part, int64_t layer,
                    std::vector<Step>* out);
// Without what is computed again.
void append_backward(const ModelSpec& model, const ChunkShape& chunk, ChunkPart part, int64_t layer,
                     std::vector<Step>* out);
// Whether the layer's backward runs this step of its forward again.
bool is_recomputed(const ModelSpec& model, const ChunkShape& chunk, const Step& step);

std::vector<Step> forward_steps(const ModelSpec& model, const ChunkShape& chunk);
// Backward in execution order, recomputation included where the chunk asks for it.
std::vector<Step> backward_steps(const ModelSpec& model, const ChunkShape& chunk);

// The part of one layer's forward that its backward needs again.
std::vector<Step> recompute_steps(const ModelSpec& model, const ChunkShape& chunk, int64_t layer);

// Same step, same name: the inverse of name_of. False when unknown.
bool parse_step_op(const std::string& name, StepOp* out);

}  // namespace shardwright
