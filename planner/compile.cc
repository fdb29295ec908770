#include "planner/compile.h"

#include <algorithm>

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
        shown_replicas_(options.representative ? 1 : replicas_) {
    program_.groups.push_back({Axis::kWorld, 0, 1, program->world});
    const int stages = static_cast<int>(plan.pp);
    for (int stage = 0; stage < stages; ++stage) add_replicas(stage);
    const int last = program->chunks.back().stage;
    if (!program->tied || last == 0) return;
    tied_ = next();
    for (int i = 0; i < shown_tp_ * shown_replicas_; ++i) {
      const auto first = static_cast<int>(numbering_.rank(0, i));
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

}  // namespace

Program compile(const ModelSpec& model, const Plan& plan, const CompileOptions& options) {
  Program program;
  program.world = static_cast<int>(plan.ranks());
  program.microbatches = static_cast<int>(plan.microbatches());
  program.replicas = static_cast<int>(plan.dp);
  program.cp = static_cast<int>(plan.split.cp);
  program.rank_order = plan.rank_order;
  program.tied = model.tied_embeddings;
  program.state = state_info(plan);
  program.chunks = chunk_infos(model, plan);
  const bool has_experts = std::any_of(model.kinds.begin(), model.kinds.end(),
                                       [](const LayerSpec& kind) { return kind.moe.experts > 0; });
  const Groups groups(plan, has_experts, options, &program);
  const std::vector<std::vector<Slot>> orders = schedule_orders(schedule_shape(plan));
  // The first rank of every stage stands for the stage.
  const int64_t shown = options.representative ? plan.pp : plan.ranks();
  const int64_t apart = options.representative ? numbering_of(plan).together : 1;
  for (int64_t rank = 0; rank < shown * apart; rank += apart) {
    const Coordinates at = coordinates_of(plan, rank);
    RankEmitter emitter(plan, options, program, at, groups.of(at, plan.split.cp));
    program.ranks.push_back(emitter.run(orders[at.stage]));
  }
  return program;
}

}  // namespace shardwright
