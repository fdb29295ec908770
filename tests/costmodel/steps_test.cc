// Steps, parameters and memory of a chunk against closed forms and against the published parameter
// counts.
#include "costmodel/steps.h"

#include <gtest/gtest.h>

#include "costmodel/hf_config.h"
#include "costmodel/memory.h"
#include "costmodel/parameters.h"

namespace shardwright {
namespace {

const char kProfiles[] = SHARDWRIGHT_SOURCE_DIR "/profiles";

ModelSpec model_of(const std::string& name) {
  Result<ModelSpec> model = load_model(name, kProfiles);
  EXPECT_TRUE(model.ok()) << model.error().line();
  return std::move(model).value();
}

// All layers, embedding and head on one stage.
ChunkShape whole(const ModelSpec& model, int64_t tp = 1) {
  ChunkShape chunk;
  chunk.num_layers = model.layers();
  chunk.embedding = chunk.head = true;
  chunk.tp = tp;
  chunk.micro_batch = 2;
  chunk.seq = 8;
  return chunk;
}

// One layer in the middle of a model.
ChunkShape layer_alone(int64_t layer, int64_t tp = 1) {
  ChunkShape chunk;
  chunk.first_layer = layer;
  chunk.num_layers = 1;
  chunk.tp = tp;
  chunk.micro_batch = 2;
  chunk.seq = 8;
  return chunk;
}

double gemm_flops(const std::vector<Step>& steps) {
  double sum = 0;
  for (const Step& step : steps) {
    if (const auto* gemm = std::get_if<GemmWork>(&step.work)) sum += gemm->flops();
  }
  return sum;
}

int64_t count_collectives(const std::vector<Step>& steps) {
  int64_t count = 0;
  for (const Step& step : steps) count += std::holds_alternative<CollectiveWork>(step.work) ? 1 : 0;
  return count;
}

std::vector<std::string> names(const std::vector<Step>& steps) {
  std::vector<std::string> out;
  for (const Step& step : steps) out.push_back(name_of(step.op));
  return out;
}

template <typename Tensors>
Bytes bytes_of(const Tensors& tensors) {
  Bytes sum = 0;
  for (const auto& tensor : tensors) sum += tensor.bytes;
  return sum;
}

class ShippedModel : public testing::TestWithParam<std::string> {};

TEST_P(ShippedModel, OneRankHoldsAllParameters) {
  const ModelSpec model = model_of(GetParam());
  EXPECT_EQ(local_parameters(model, whole(model)), count_parameters(model).total());
}

TEST(Parameters, BiasesOfLatentAttentionAreHeld) {
  ModelSpec model = model_of("deepseek-v3");
  for (LayerSpec& kind : model.kinds) kind.attention.qkv_bias = kind.attention.out_bias = true;
  EXPECT_EQ(local_parameters(model, whole(model)), count_parameters(model).total());
}

// What all ranks hold together is the model, once more for each further rank that holds a copy, and
// the rows that pad the vocabulary.
TEST_P(ShippedModel, RanksAndStagesHoldItTogether) {
  const ModelSpec model = model_of(GetParam());
  for (int64_t tp : {2, 4}) {
    for (int64_t pp : {1, 2, 3}) {
      int64_t held = 0, copies = 0;
      for (int64_t stage = 0; stage < pp; ++stage) {
        ChunkShape chunk = whole(model, tp);
        chunk.first_layer = model.layers() * stage / pp;
        chunk.num_layers = model.layers() * (stage + 1) / pp - chunk.first_layer;
        chunk.embedding = stage == 0;
        chunk.head = stage == pp - 1;
        for (int64_t index = 0; index < tp; ++index) {
          for (const ParameterTensor& tensor : chunk_parameters(model, chunk, index)) {
            held += tensor.elements();
            for (const ParameterPart& part : tensor.parts) {
              const int64_t real = std::min(part.rows, part.global_rows - part.row0);
              copies += (part.rows - real) * part.cols;
              if (part.tied_copy) copies += real * part.cols;
              if (part.replicated && index > 0) copies += part.elements();
            }
          }
        }
      }
      EXPECT_EQ(held - copies, count_parameters(model).total()) << "tp " << tp << " pp " << pp;
    }
  }
}

// GPT-2's 50257 rows: 393 * 128 = 50304 on one rank; on two 25129 real rows each at most, that is
// 197 * 128 = 25216. Of 200 rows on four ranks the first two hold all.
TEST(PaddedVocabulary, SharesAreMultiples) {
  ModelSpec model;
  model.vocab = 50257;
  EXPECT_EQ(padded_vocab_share(model, 1), 50257);
  EXPECT_EQ(padded_vocab_share(model, 2), 25129);
  model.vocab_multiple = 128;
  EXPECT_EQ(padded_vocab_share(model, 1), 50304);
  EXPECT_EQ(padded_vocab_share(model, 2), 25216);
  model.vocab = 200;
  EXPECT_EQ(padded_vocab_share(model, 4), 128);
}

// Padding is held and worked on, but is no part of the model.
TEST(PaddedVocabulary, CountsOfTheModelStay) {
  ModelSpec model = model_of("gpt2");
  const int64_t real = count_parameters(model).total();
  model.vocab_multiple = 128;
  EXPECT_EQ(count_parameters(model).total(), real);
  EXPECT_EQ(local_parameters(model, whole(model)), real + (50304 - 50257) * model.hidden);
  for (const ParameterTensor& tensor : chunk_parameters(model, whole(model, 2), 1)) {
    if (tensor.slot != "embedding.tokens") continue;
    EXPECT_EQ(tensor.parts.front().row0, 25216);
    EXPECT_EQ(tensor.parts.front().global_rows, 50257);
  }
}

TEST_P(ShippedModel, BackwardHasTwiceTheGemmsOfForward) {
  const ModelSpec model = model_of(GetParam());
  for (int64_t tp : {1, 2}) {
    const ChunkShape chunk = whole(model, tp);
    const double forward = gemm_flops(forward_steps(model, chunk));
    EXPECT_GT(forward, 0);
    EXPECT_DOUBLE_EQ(gemm_flops(backward_steps(model, chunk)), 2 * forward);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ShippedModel, testing::ValuesIn(shipped_models(kProfiles)),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           return name;
                         });

// tiny-llama: h 128, 4 heads of 32, 2 KV heads, gated MLP of 352, vocabulary 256; T = 2 * 8.
constexpr double kT = 16, kH = 128, kQ = 128, kKv = 64, kF = 352, kV = 256;

TEST(Steps, GemmFlopsOfADenseLayer) {
  const ModelSpec model = model_of("tiny-llama");
  const double layer = 2 * kT * (kH * (kQ + 2 * kKv) + kQ * kH + 3 * kH * kF);
  EXPECT_DOUBLE_EQ(gemm_flops(forward_steps(model, layer_alone(1))), layer);
  EXPECT_DOUBLE_EQ(gemm_flops(forward_steps(model, layer_alone(1, 2))), layer / 2);
  EXPECT_DOUBLE_EQ(gemm_flops(forward_steps(model, whole(model))), 4 * layer + 2 * kT * kH * kV);
}

TEST(Steps, OfALlamaLayerInOrder) {
  const ModelSpec model = model_of("tiny-llama");
  EXPECT_EQ(names(forward_steps(model, layer_alone(1))),
            (std::vector<std::string>{"norm1", "qkv", "rope", "attention", "attention_out",
                                      "add_norm2", "mlp_up", "activation", "mlp_down", "add"}));
  EXPECT_EQ(names(forward_steps(model, layer_alone(1, 2))),
            (std::vector<std::string>{"norm1", "qkv", "rope", "attention", "attention_out",
                                      "attention_reduce", "add_norm2", "mlp_up", "activation",
                                      "mlp_down", "mlp_reduce", "add"}));
}

// Two all-reduces a layer in each direction (Megatron, arXiv 1909.08053), one for the embedding,
// one gather for the loss and one all-reduce for the head's input gradient.
TEST(Steps, CollectivesOfTensorParallelism) {
  const ModelSpec model = model_of("tiny-llama");
  EXPECT_EQ(count_collectives(forward_steps(model, whole(model))), 0);
  EXPECT_EQ(count_collectives(backward_steps(model, whole(model))), 0);
  EXPECT_EQ(count_collectives(forward_steps(model, whole(model, 2))), 2 * 4 + 2);
  EXPECT_EQ(count_collectives(backward_steps(model, whole(model, 2))), 2 * 4 + 1);
  for (const Step& step : forward_steps(model, layer_alone(1, 2))) {
    if (const auto* work = std::get_if<CollectiveWork>(&step.work)) {
      EXPECT_EQ(work->bytes, static_cast<Bytes>(kT * kH) * 4);
    }
  }
}

// The last product of a layer, its reduction and the residual sum are not needed again.
TEST(Steps, RecomputationStopsAtTheActivation) {
  const ModelSpec model = model_of("tiny-llama");
  EXPECT_EQ(names(recompute_steps(model, layer_alone(1, 2), 1)),
            (std::vector<std::string>{"norm1", "qkv", "rope", "attention", "attention_out",
                                      "attention_reduce", "add_norm2", "mlp_up", "activation"}));
  ChunkShape chunk = layer_alone(1);
  const double forward = gemm_flops(forward_steps(model, chunk));
  chunk.recompute = true;
  EXPECT_DOUBLE_EQ(gemm_flops(backward_steps(model, chunk)), 3 * forward - 2 * kT * kH * kF);
  for (const Step& step : recompute_steps(model, chunk, 1)) {
    EXPECT_EQ(step.phase, Phase::kRecompute);
    EXPECT_EQ(step.layer, 1);
  }
}

TEST(Steps, NamesAreUniqueAndParseBack) {
  for (int i = 0; i < static_cast<int>(StepOp::kCount); ++i) {
    StepOp parsed{};
    ASSERT_TRUE(parse_step_op(name_of(static_cast<StepOp>(i)), &parsed));
    EXPECT_EQ(static_cast<int>(parsed), i);
  }
  StepOp parsed{};
  EXPECT_FALSE(parse_step_op("unknown", &parsed));
}

// Elements a token of a gated RMSNorm layer: three streams of width h (norm1, middle, norm2), the
// fused projection, the context, one figure per head, twice two statistics, gate, up and their
// product. Flash attention keeps no scores.
TEST(Memory, SavedTensorsOfALayer) {
  const ModelSpec model = model_of("tiny-llama");
  const double token = 3 * kH + (kQ + 2 * kKv) + kQ + 4 + 2 * 2 + 3 * kF;
  EXPECT_EQ(bytes_of(layer_tensors(model, layer_alone(1), 1)), static_cast<Bytes>(4 * kT * token));
  // A middle chunk's first input is the message that it received.
  EXPECT_EQ(bytes_of(saved_tensors(model, layer_alone(1))), static_cast<Bytes>(4 * kT * token));
  // tp halves what is split; the streams and statistics stay.
  const double split = 3 * kH + 2 * 2 + (kQ + 2 * kKv + kQ + 4 + 3 * kF) / 2;
  EXPECT_EQ(bytes_of(layer_tensors(model, layer_alone(1, 2), 1)),
            static_cast<Bytes>(4 * kT * split));
}

TEST(Memory, SavedTensorsOfAModel) {
  const ModelSpec model = model_of("tiny-llama");
  ChunkShape chunk = whole(model);
  const double layer = 3 * kH + (kQ + 2 * kKv) + kQ + 4 + 2 * 2 + 3 * kF;
  const double head = 2 * kH + 2 + kV + 1;
  EXPECT_EQ(bytes_of(saved_tensors(model, chunk)),
            static_cast<Bytes>(4 * kT * (4 * (layer + kH) + head)));
  chunk.recompute = true;
  EXPECT_EQ(bytes_of(saved_tensors(model, chunk)), static_cast<Bytes>(4 * kT * (4 * kH + head)));
}

// Recomputing a layer rebuilds its tensors once more beside the scratch.
TEST(Memory, RecomputationNeedsOneLayerOfScratch) {
  const ModelSpec model = model_of("tiny-llama");
  ChunkShape chunk = whole(model);
  const Bytes plain = chunk_memory(model, chunk, OptimizerKind::kAdamW).scratch;
  chunk.recompute = true;
  EXPECT_EQ(chunk_memory(model, chunk, OptimizerKind::kAdamW).scratch,
            plain + bytes_of(layer_tensors(model, chunk, 0)));
}

// Bytes per parameter: fp32 AdamW 4 + 4 + 8; bf16 2 + 4 + 12 with the master copy; SGD keeps
// nothing more.
TEST(Memory, BytesPerParameter) {
  const ModelSpec model = model_of("tiny-llama");
  const int64_t count = count_parameters(model).total();
  ChunkShape chunk = whole(model);
  EXPECT_EQ(chunk_memory(model, chunk, OptimizerKind::kAdamW).persistent(), 16 * count);
  EXPECT_EQ(chunk_memory(model, chunk, OptimizerKind::kSgd).persistent(), 8 * count);
  chunk.type = DataType::kBf16;
  EXPECT_EQ(chunk_memory(model, chunk, OptimizerKind::kAdamW).persistent(), 18 * count);
  EXPECT_EQ(chunk_memory(model, chunk, OptimizerKind::kSgd).persistent(), 10 * count);
}

}  // namespace
}  // namespace shardwright
