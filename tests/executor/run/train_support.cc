#include "tests/executor/run/train_support.h"

#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>

#include "costmodel/check.h"
#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "planner/compile.h"

namespace shardwright {
namespace {

constexpr int64_t kVocab = 50;

Json config_of(const std::string& kind, bool tied) {
  if (kind == "gpt2") {
    return {{"model_type", "gpt2"},
            {"n_embd", 16},
            {"n_layer", 4},
            {"n_head", 4},
            {"n_positions", 32},
            {"vocab_size", kVocab},
            {"activation_function", "gelu_new"},
            {"layer_norm_epsilon", 1e-5},
            {"tie_word_embeddings", tied}};
  }
  return {{"model_type", "llama"},      {"hidden_size", 16},
          {"num_hidden_layers", 4},     {"num_attention_heads", 4},
          {"num_key_value_heads", 2},   {"intermediate_size", 40},
          {"vocab_size", kVocab},       {"max_position_embeddings", 32},
          {"rms_norm_eps", 1e-5},       {"hidden_act", "silu"},
          {"tie_word_embeddings", tied}};
}

// Copies a rank's parts to their places in the whole tensors.
void collect(const Interpreter& interpreter, Ops& ops, const Program& program,
             WholeWeights* whole) {
  for (int chunk = 0; chunk < static_cast<int>(program.chunks.size()); ++chunk) {
    if (interpreter.rank_program().stage != program.chunks[chunk].stage) continue;
    const Weights& weights = interpreter.weights(chunk);
    std::vector<float> values(static_cast<size_t>(weights.size()));
    ops.download(values.data(), weights.values(),
                 weights.size() * static_cast<Bytes>(sizeof(float)));
    const float* at = values.data();
    for (const ParameterTensor& tensor : weights.tensors()) {
      for (const ParameterPart& part : tensor.parts) {
        const std::string name = part.tied_copy ? part.name + " (copy)" : part.name;
        std::vector<float>& out = (*whole)[name];
        out.resize(static_cast<size_t>(part.global_rows * part.global_cols));
        for (int64_t row = 0; row < part.rows; ++row) {
          for (int64_t col = 0; col < part.cols; ++col, ++at) {
            if (part.row0 + row >= part.global_rows) {
              SW_CHECK_EQ(*at, 0.0f, "padding of " << part.name);
              continue;
            }
            out[(part.row0 + row) * part.global_cols + part.col0 + col] = *at;
          }
        }
      }
    }
  }
}

}  // namespace

ModelSpec small_model(const std::string& kind, bool tied) {
  return read_hf_config(config_of(kind, tied), kind).value();
}

Plan make_plan(const ModelSpec& model, int64_t dp, int64_t tp, int64_t pp, int64_t micro_batch,
               int64_t global_batch, int64_t seq) {
  Plan plan;
  plan.dp = dp;
  plan.tp = tp;
  plan.pp = pp;
  plan.micro_batch = micro_batch;
  plan.global_batch = global_batch;
  plan.seq = seq;
  for (int64_t stage = 0; stage < pp; ++stage) {
    plan.stage_layers.push_back(model.layers() / pp + (stage < model.layers() % pp ? 1 : 0));
  }
  return plan;
}

void formula_sample(int64_t vocab, int64_t seq, int64_t number, int32_t* tokens, int32_t* targets) {
  const auto token = [&](int64_t t) {
    return static_cast<int32_t>((number * 31 + t * (13 + number % 3) + t * t * 3) % vocab);
  };
  for (int64_t t = 0; t < seq; ++t) {
    tokens[t] = token(t);
    targets[t] = token(t + 1);
  }
}

TestRun train(const ModelSpec& model, const Plan& plan, const TrainOptions& options,
              SampleSource samples, bool overlap_lanes, RankMaker make_rank) {
  if (!samples) {
    samples = [&](int64_t number, int32_t* tokens, int32_t* targets) {
      formula_sample(model.vocab, plan.seq, number, tokens, targets);
    };
  }
  TestRun run;
  run.program = compile(model, plan, {.overlap = overlap_lanes});
  const StepTable steps(model, run.program, plan.optimizer);
  if (!make_rank) {
    make_rank = [](Communicator& host, const auto& body) {
      const std::unique_ptr<Ops> ops = make_cpu_ops(host.rank());
      body(host, *ops);
    };
  }
  std::mutex mutex;
  const auto body = [&](Communicator& comm, Ops& ops) {
    const auto at_end = [&](const Interpreter& interpreter) {
      const std::lock_guard<std::mutex> lock(mutex);
      collect(interpreter, ops, run.program, &run.weights);
    };
    TrainResult result =
        train_rank(model, run.program, steps, ops, comm, options, samples, {}, at_end);
    if (comm.rank() == 0) run.result = std::move(result);
  };
  run_ranks(static_cast<int>(plan.ranks()), std::chrono::seconds(60),
            [&](Communicator& host) { make_rank(host, body); });
  return run;
}

double largest_difference(const WholeWeights& a, const WholeWeights& b, double floor,
                          std::string* where) {
  double worst = 0;
  for (const auto& [name, reference] : b) {
    const std::vector<float>& values = a.at(name);
    SW_CHECK_EQ(values.size(), reference.size(), name);
    for (size_t i = 0; i < values.size(); ++i) {
      const double difference = std::abs(double{values[i]} - double{reference[i]}) /
                                (std::abs(double{reference[i]}) + floor);
      if (!(difference <= worst)) {
        worst = difference;
        *where = name + "[" + std::to_string(i) + "]";
      }
    }
  }
  return worst;
}

}  // namespace shardwright
