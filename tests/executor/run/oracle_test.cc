// The one-rank run against PyTorch: loss, gradients and weights of three steps, from figures that
// tests/oracle/make_oracle.py computed in float64.
//
// Tolerance: fp32 against fp64. Losses near 5 carry about 1e-6; gradients and SGD's weights a few
// 1e-6. AdamW divides gradients by their size, so weights whose gradient is nearly zero may differ
// by a share of lr.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodel/json.h"
#include "tests/executor/run/train_support.h"

namespace shardwright {
namespace {

struct Oracle {
  Json json;
  ModelSpec model;
  int64_t batch, seq;
};

Oracle load_oracle(const std::string& name) {
  const std::string path = std::string(SHARDWRIGHT_SOURCE_DIR) + "/tests/oracle/" + name + ".json";
  Oracle oracle{read_json_file(path).value(), {}, 0, 0};
  oracle.model = read_hf_config(oracle.json["config"], path).value();
  oracle.batch = oracle.json["batch"];
  oracle.seq = oracle.json["seq"];
  return oracle;
}

SampleSource samples_of(const Oracle& oracle) {
  const int64_t batch = oracle.batch, seq = oracle.seq, vocab = oracle.model.vocab;
  return [=](int64_t number, int32_t* tokens, int32_t* targets) {
    const int64_t step = number / batch, sample = number % batch;
    const auto token = [&](int64_t t) {
      return static_cast<int32_t>((7 * step * step + 31 * sample + 13 * t + 3 * t * t + step * t) %
                                  vocab);
    };
    for (int64_t t = 0; t < seq; ++t) {
      tokens[t] = token(t);
      targets[t] = token(t + 1);
    }
  };
}

TrainOptions options_of(const Oracle& oracle, OptimizerKind optimizer) {
  TrainOptions options;
  options.steps = 3;
  TrainSettings& s = options.settings;
  s.optimizer = optimizer;
  s.init = {oracle.json["seed"].get<uint64_t>(), oracle.json["init_std"].get<float>()};
  s.clip_norm = oracle.json["clip_norm"];
  if (optimizer == OptimizerKind::kAdamW) {
    const Json& adamw = oracle.json["adamw"];
    s.lr = adamw["lr"];
    s.beta1 = adamw["betas"][0];
    s.beta2 = adamw["betas"][1];
    s.eps = adamw["eps"];
    s.weight_decay = adamw["weight_decay"];
  } else {
    s.lr = oracle.json["sgd"]["lr"];
    s.weight_decay = 0;
  }
  return options;
}

class OracleTest : public ::testing::TestWithParam<const char*> {
 protected:
  TestRun run(OptimizerKind optimizer, const TrainOptions& options) {
    Plan plan = make_plan(oracle_.model, 1, 1, 1, oracle_.batch, oracle_.batch, oracle_.seq);
    plan.optimizer = optimizer;
    return train(oracle_.model, plan, options, samples_of(oracle_));
  }
  void expect_history(const TestRun& run, const Json& expected) {
    for (int step = 0; step < 3; ++step) {
      EXPECT_NEAR(run.result.metrics[step].loss, expected["losses"][step].get<double>(), 5e-6);
      EXPECT_NEAR(run.result.metrics[step].grad_norm, expected["grad_norms"][step].get<double>(),
                  5e-6);
    }
  }
  Oracle oracle_ = load_oracle(GetParam());
};

TEST_P(OracleTest, AdamWThreeSteps) {
  const TestRun result = run(OptimizerKind::kAdamW, options_of(oracle_, OptimizerKind::kAdamW));
  expect_history(result, oracle_.json["adamw"]);
  for (const Json& parameter : oracle_.json["parameters"]) {
    const std::string name = parameter["name"];
    const auto expected = parameter["adamw_weight_step3"].get<std::vector<float>>();
    const auto& found = result.weights.at(name);
    ASSERT_EQ(found.size(), expected.size()) << name;
    const bool no_gradient = name.find("attention.k.bias") != std::string::npos;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(found[i], expected[i], no_gradient ? 3.1e-3 : 3e-5) << name << "[" << i << "]";
    }
  }
}

TEST_P(OracleTest, SgdThreeSteps) {
  const TestRun result = run(OptimizerKind::kSgd, options_of(oracle_, OptimizerKind::kSgd));
  expect_history(result, oracle_.json["sgd"]);
  for (const Json& parameter : oracle_.json["parameters"]) {
    const auto expected = parameter["sgd_weight_step3_first"].get<std::vector<float>>();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(result.weights.at(parameter["name"])[i], expected[i], 2e-6)
          << parameter["name"] << "[" << i << "]";
    }
  }
}

// One SGD step at lr 1 without clipping moves every weight by its gradient.
TEST_P(OracleTest, GradientsOfTheFirstStep) {
  TrainOptions options = options_of(oracle_, OptimizerKind::kSgd);
  options.settings.clip_norm = 0;
  options.settings.lr = 0;
  options.steps = 1;
  const TestRun before = run(OptimizerKind::kSgd, options);
  options.settings.lr = 1;
  const TestRun after = run(OptimizerKind::kSgd, options);
  for (const Json& parameter : oracle_.json["parameters"]) {
    const std::string name = parameter["name"];
    const auto expected = parameter["gradient_step1"].get<std::vector<float>>();
    ASSERT_EQ(before.weights.at(name).size(), expected.size()) << name;
    for (size_t i = 0; i < expected.size(); ++i) {
      const float gradient = before.weights.at(name)[i] - after.weights.at(name)[i];
      EXPECT_NEAR(gradient, expected[i], 2e-6) << name << "[" << i << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, OracleTest, ::testing::Values("gpt2", "llama"));

}  // namespace
}  // namespace shardwright
