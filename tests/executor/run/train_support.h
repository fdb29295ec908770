// Small models, random legal plans and a run in one process, shared by the tests of the executor.
#pragma once

#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "costmodel/hf_config.h"
#include "executor/run/trainer.h"
#include "planner/plan.h"

namespace shardwright {

// 4 layers, hidden 16, 4 heads (2 KV heads in the Llama kind), vocabulary 50: not a multiple of 4.
ModelSpec small_model(const std::string& kind, bool tied);

// Splits a model's layers over the stages, the first ones taking what is left over.
Plan make_plan(const ModelSpec& model, int64_t dp, int64_t tp, int64_t pp, int64_t micro_batch,
               int64_t global_batch, int64_t seq);

// An unsharded tensor put together from the ranks' parts.
using WholeWeights = std::map<std::string, std::vector<float>>;

struct TestRun {
  TrainResult result;
  WholeWeights weights;
  Program program;
};

// Tokens by a formula of (sample, place), so that every plan sees the same.
void formula_sample(int64_t vocab, int64_t seq, int64_t number, int32_t* tokens, int32_t* targets);

// Gives a rank of the test its kernels and its communicator, and calls the body; the default is a
// CPU rank on the host communicator.
using RankMaker =
    std::function<void(Communicator& host, const std::function<void(Communicator&, Ops&)>& body)>;

// Trains on ranks that are threads. `samples` may be empty: formula_sample then.
TestRun train(const ModelSpec& model, const Plan& plan, const TrainOptions& options,
              SampleSource samples = {}, bool overlap_lanes = false, RankMaker make_rank = {});

// Largest |a - b| / (|b| + floor) over all tensors; names the worst one in `where`.
double largest_difference(const WholeWeights& a, const WholeWeights& b, double floor,
                          std::string* where);

}  // namespace shardwright
