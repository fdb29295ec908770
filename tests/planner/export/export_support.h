// What the tests of export and lint share: models, clusters, random plans of every choice.
#pragma once

#include "planner/export/export_plan.h"
#include "planner/export/idle_choices.h"
#include "planner/export/limits.h"
#include "planner/lint/lint.h"
#include "planner/plan_json.h"
#include "planner/records/run_case.h"
#include "tests/planner/support.h"

namespace shardwright {

inline ClusterSpec shipped_cluster(const std::string& name) {
  Result<ClusterSpec> cluster = load_cluster(name, kProfiles);
  EXPECT_TRUE(cluster.ok()) << cluster.error().line();
  return *std::move(cluster);
}

inline Plan plain_plan(const ModelSpec& model, int64_t dp, int64_t tp, int64_t pp) {
  Plan plan;
  plan.dp = dp;
  plan.tp = tp;
  plan.pp = pp;
  plan.global_batch = 8 * dp * pp;
  plan.seq = 4096;
  plan.precision = DataType::kBf16;
  plan.stage_layers = usual_layers(model.layers(), pp, false);
  return plan;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  int64_t from(std::initializer_list<int64_t> values) {
    return values.begin()[random_() % values.size()];
  }
  bool coin() { return random_() % 2 == 0; }

 private:
  std::mt19937 random_;
};

// Any choice that a plan has, legal for the model; most frameworks refuse many of them.
inline Plan random_choices(const ModelSpec& model, int64_t devices, Dice* dice) {
  for (;;) {
    Plan plan;
    plan.tp = dice->from({1, 2, 4, 8});
    plan.pp = dice->from({1, 1, 2, 4});
    plan.split.cp = dice->from({1, 1, 2});
    if (devices % (plan.tp * plan.pp * plan.split.cp) != 0) continue;
    plan.dp = devices / (plan.tp * plan.pp * plan.split.cp);
    plan.split.ep = dice->from({1, 1, 2, 4, 8});
    plan.split.etp = dice->from({0, 0, 1, plan.tp});
    plan.split.sequence_parallel = dice->coin();
    if (dice->from({0, 0, 1}) == 1) plan.split.cp_kind = CpKind::kAllToAll;
    plan.virtual_stages = plan.pp > 1 ? dice->from({1, 1, 2, 3}) : 1;
    if (dice->from({0, 0, 1}) == 1) plan.rank_order = RankOrder::kTpCpPpDp;
    plan.micro_batch = dice->from({1, 1, 2});
    plan.global_batch = plan.dp * plan.micro_batch * plan.pp * dice->from({1, 2, 8});
    plan.seq = dice->from({2048, 4096});
    if (plan.pp > 1 && plan.virtual_stages == 1 && dice->from({0, 0, 0, 1}) == 1) {
      plan.schedule = ScheduleKind::kGPipe;
    }
    plan.zero = dice->from({0, 1, 2, 3});
    if (dice->coin()) plan.shard_group = dice->from({1, 2, 4, 8});
    const int64_t recompute = dice->from({0, 0, 1, 2, 3});
    if (recompute == 1 || recompute == 2) plan.recompute = Recompute::kFull;
    if (recompute == 2) plan.recompute_layers = dice->from({1, 2, 3});
    if (recompute == 3) {
      plan.recompute = Recompute::kSelective;
      plan.recompute_modules = static_cast<uint32_t>(dice->from({1, 3, 4, 6, 16, 8}));
    }
    const int64_t precision = dice->from({0, 0, 0, 1, 2, 3});
    plan.precision = precision == 0   ? DataType::kBf16
                     : precision == 1 ? DataType::kFp16
                     : precision == 2 ? DataType::kFp8
                                      : DataType::kFp32;
    if (dice->from({0, 0, 1}) == 1) plan.gradient_type = storage_of(plan.precision);
    if (dice->from({0, 0, 0, 1}) == 1) plan.moment_type = DataType::kBf16;
    if (dice->from({0, 0, 0, 1}) == 1) plan.optimizer_offload = dice->coin() ? 1 : 0.25;
    if (dice->from({0, 0, 0, 0, 1}) == 1) plan.activation_offload = 0.25;
    if (dice->from({0, 0, 0, 0, 1}) == 1) plan.optimizer = OptimizerKind::kSgd;
    plan.overlap = {dice->coin(), dice->coin(), dice->coin(), dice->coin(), dice->coin()};
    plan.stage_layers = usual_layers(model.layers(), plan.pp * plan.virtual_stages, dice->coin());
    if (plan.pp > 1 && dice->coin()) {  // uneven
      --plan.stage_layers.front();
      ++plan.stage_layers.back();
    }
    if (check_plan(model, devices, plan).empty()) return plan;
  }
}

inline std::string text_of(const Export& exported, const std::string& name) {
  for (const ExportFile& file : exported.files) {
    if (file.name == name) return file.content;
  }
  return "";
}

}  // namespace shardwright
