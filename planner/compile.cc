#include "planner/compile.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "planner/chunk_info.h"
#include "planner/rank_emitter.h"

namespace shardwright {
namespace {

// The groups of a stage, by place in them, and those that a rank finds there.
class Groups {
 public:
  Groups(const Plan& plan, bool has_experts, const CompileOptions& options, Program* program)
      : program_(*program),
        numbering_(numbering_of(plan)),
        tp_(static_cast<int>(plan.tp)),
        replicas_(static_cast<int>(plan.dp * plan.split.cp)),
        holders_(has_experts ? static_cast<int>(plan.split.ep * plan.split.expert_tp(plan.tp))
                             : tp_),
        shown_tp_(options.representative ? 1 : tp_),
        shown_replicas_(
            options.representative && options.replicas == std::vector<int64_t>{0} ? 1 : replicas_) {
    program_.groups.push_back({Axis::kWorld, 0, 1, program->world});
    const int stages = static_cast<int>(plan.pp);
    for (int stage = 0; stage < stages; ++stage) add_replicas(stage);
    const int last = program->chunks.back().stage;
    if (!program->tied || last == 0) return;
    tied_ = next();
    for (int i = 0; i < shown_tp_ * shown_replicas_; ++i) {
      const auto first = static_cast<int>(numbering_.rank(0, i / shown_tp_ * tp_ + i % shown_tp_));
      const auto apart = static_cast<int>(numbering_.together) * last;
      program_.groups.push_back({Axis::kTied, first, apart, 2});
    }
  }

  RankGroups of(const Coordinates& at, int64_t cp) const {
    const int t = static_cast<int>(at.tp), r = static_cast<int>(at.dp * cp + at.cp);
    const int stage = static_cast<int>(at.stage), last = program_.chunks.back().stage;
    const int shards = program_.state.shards, copies = replicas_ / shards;
    RankGroups out;
    out.world = 0;
    if (replicas_ > 1) out.replicas = stages_[stage].replicas + t;
    if (stages_[stage].experts >= 0) out.replicas = stages_[stage].experts + t % shown_experts();
    if (shards > 1) {
      const int shown_copies = shown_replicas_ == 1 ? 1 : copies;
      out.shards =
          copies == 1 ? out.replicas : stages_[stage].shards + t * shown_copies + r / shards;
    }
    if (stages_[stage].copies >= 0) {
      const int shown_shards = shown_replicas_ == 1 ? 1 : shards;
      out.copies = stages_[stage].copies + t * shown_shards + r % shards;
    }
    if (tied_ >= 0 && (stage == 0 || stage == last)) {
      out.tied = tied_ + (shown_replicas_ == 1 ? 0 : r) * shown_tp_ + t;
    }
    return out;
  }

 private:
  struct Stage {
    int replicas = -1, shards = -1, copies = -1;  // the first group of each kind
    int experts = -1;                             // where experts alone have replicas
  };
  int next() const { return static_cast<int>(program_.groups.size()); }
  // Of places of a stage.
  void add(Axis axis, int stage, int first, int stride, int size) {
    const GroupPlacement g = numbering_.group(stage, first, stride, size);
    const auto small = [](int64_t value) { return static_cast<int>(value); };
    program_.groups.push_back(
        {axis, small(g.first), small(g.stride), size, small(g.run), small(g.jump)});
  }

  // Neighbouring replicas share a sharded copy.
  void add_replicas(int number) {
    const int shards = program_.state.shards, copies = replicas_ / shards;
    Stage stage;
    if (replicas_ > 1) {
      stage.replicas = next();
      for (int t = 0; t < shown_tp_; ++t) add(Axis::kDp, number, t, tp_, replicas_);
    } else if (holders_ < tp_) {
      stage.experts = next();
      for (int t = 0; t < shown_experts(); ++t) {
        add(Axis::kExpertDp, number, t, holders_, tp_ / holders_);
      }
    }
    if (shards > 1 && copies > 1) {
      stage.shards = next();
      for (int t = 0; t < shown_tp_; ++t) {
        for (int c = 0; c < (shown_replicas_ == 1 ? 1 : copies); ++c) {
          add(Axis::kDp, number, t + c * shards * tp_, tp_, shards);
        }
      }
      if (program_.state.zero == 3) stage.copies = next();
      for (int t = 0; t < shown_tp_ && program_.state.zero == 3; ++t) {
        for (int s = 0; s < (shown_replicas_ == 1 ? 1 : shards); ++s) {
          add(Axis::kDp, number, t + s * tp_, tp_ * shards, copies);
        }
      }
    }
    stages_.push_back(stage);
  }

  Program& program_;
  int shown_experts() const { return std::min(shown_tp_, holders_); }

  const RankNumbering numbering_;
  const int tp_, replicas_;
  const int holders_;  // ranks of a stage that hold all experts once
  const int shown_tp_, shown_replicas_;
  std::vector<Stage> stages_;
  int tied_ = -1;
};

// All, or the first rank of every stage of the replicas that are asked for, ascending.
std::vector<int64_t> ranks_of(const Plan& plan, const CompileOptions& options) {
  std::vector<int64_t> out;
  if (!options.representative) {
    out.resize(static_cast<size_t>(plan.ranks()));
    std::iota(out.begin(), out.end(), int64_t{0});
    return out;
  }
  for (int64_t replica : options.replicas) {
    for (int64_t stage = 0; stage < plan.pp; ++stage) {
      out.push_back(rank_at(plan, {0, replica, stage}));
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

Program compile(const ModelSpec& model, const Plan& plan, const CompileOptions& options) {
  Program program;
  program.world = static_cast<int>(plan.ranks());
  program.microbatches = static_cast<int>(plan.microbatches());
  for (size_t i = 0; i < plan.replica_batches.size(); ++i) {
    program.replica_microbatches.push_back(
        static_cast<int>(plan.microbatches_of(static_cast<int64_t>(i))));
  }
  program.replicas = static_cast<int>(plan.dp);
  program.cp = static_cast<int>(plan.split.cp);
  program.rank_order = plan.rank_order;
  program.tied = model.tied_embeddings;
  program.state = state_info(plan);
  program.chunks = chunk_infos(model, plan);
  const bool has_experts = std::any_of(model.kinds.begin(), model.kinds.end(),
                                       [](const LayerSpec& kind) { return kind.moe.experts > 0; });
  const Groups groups(plan, has_experts, options, &program);
  std::map<int, std::vector<std::vector<Slot>>> orders;  // by microbatches
  for (const int64_t rank : ranks_of(plan, options)) {
    const Coordinates at = coordinates_of(plan, rank);
    ScheduleShape shape = schedule_shape(plan);
    shape.microbatches = program.microbatches_of(static_cast<int>(at.dp));
    const auto [order, fresh] = orders.try_emplace(shape.microbatches);
    if (fresh) order->second = schedule_orders(shape);
    RankEmitter emitter(plan, options, program, at, groups.of(at, plan.split.cp));
    program.ranks.push_back(emitter.run(order->second[at.stage]));
  }
  return program;
}

}  // namespace shardwright
