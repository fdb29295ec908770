#include <algorithm>

#include "planner/export/idle_choices.h"
#include "planner/export/limits.h"
#include "planner/lint/lint.h"
#include "planner/records/run_case.h"

namespace shardwright {
namespace {

constexpr size_t kShown = 8;
// Predictions closer than this are no reason to touch a job.
constexpr double kWorthChanging = 0.002;
constexpr int64_t kMostTried = 64;  // of degrees, chunks and microbatches

std::string text(int64_t value) { return std::to_string(value); }
const char* on_off(bool value) { return value ? "on" : "off"; }

class Changes {
 public:
  Changes(const JobInput& input, const Job& job, const JobPrediction& predicted, JobPricer* pricer)
      : in_(input), job_(job), now_(predicted), pricer_(pricer) {}

  std::vector<Change> take() {
    degrees();
    batch();
    recompute();
    sharding();
    switches();
    schedules();
    const bool fits = now_.fits();
    std::vector<Change> out;
    for (Change& change : tried_) {
      if (!fits || change.step_s < now_.time.step_s * (1 - kWorthChanging)) {
        out.push_back(std::move(change));
      }
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Change& a, const Change& b) { return a.step_s < b.step_s; });
    if (out.size() > kShown) out.resize(kShown);
    return out;
  }

 private:
  const Plan& plan() const { return job_.plan; }

  // Keeps the plan when it obeys every rule, the framework can run it and it fits.
  void add(const std::string& what, Plan plan) {
    std::vector<std::string> changed;
    plan = as_run_by(job_.framework, in_.model, plan, &changed);
    if (!check_plan(in_.model, job_.plan.ranks(), plan).empty()) return;
    if (!check_runnable(job_.framework, in_.model, plan).empty()) return;
    if (same_choices(plan, job_.plan) || !pricer_->fits(plan)) return;
    Change change{what, plan, pricer_->step_s(plan), 0};
    change.device_bytes = pricer_->device_bytes(plan);
    tried_.push_back(std::move(change));
  }
  static bool same_choices(const Plan& a, const Plan& b) {
    return a.label() == b.label() && a.split == b.split && a.zero == b.zero &&
           a.stage_layers == b.stage_layers && a.overlap == b.overlap &&
           a.shard_group == b.shard_group && a.recompute_modules == b.recompute_modules &&
           a.recompute_layers == b.recompute_layers && a.virtual_stages == b.virtual_stages &&
           a.optimizer_offload == b.optimizer_offload &&
           a.activation_offload == b.activation_offload;
  }

  // Another value of an axis; dp gives or takes the ranks.
  void degrees() {
    const Plan& p = plan();
    const int64_t replicas = p.ranks();
    for (int64_t value = 1; value <= kMostTried; ++value) {
      axis("tp", p.tp, value, replicas / (p.pp * p.split.cp), [&](Plan* q) { q->tp = value; });
      axis("cp", p.split.cp, value, replicas / (p.pp * p.tp),
           [&](Plan* q) { q->split.cp = value; });
      axis("pp", p.pp, value, replicas / (p.tp * p.split.cp), [&](Plan* q) {
        q->pp = value;
        if (value == 1) q->virtual_stages = 1;
        q->stage_layers = spread(value * q->virtual_stages);
      });
      if (value != p.split.ep) {
        Plan q = p;
        q.split.ep = value;
        add("ep " + text(p.split.ep) + " -> " + text(value), q);
      }
    }
  }
  template <typename Set>
  void axis(const char* name, int64_t now, int64_t value, int64_t room, Set&& set) {
    if (value == now || room % value != 0) return;
    Plan q = plan();
    set(&q);
    q.dp = room / value;
    if (q.shard_group > 0 && q.dp * q.split.cp % q.shard_group != 0) q.shard_group = 0;
    add(std::string(name) + " " + text(now) + " -> " + text(value) + " (dp " + text(plan().dp) +
            " -> " + text(q.dp) + ")",
        q);
  }
  std::vector<int64_t> spread(int64_t chunks) const {
    return usual_layers(in_.model.layers(), chunks, in_.model.mtp_layers > 0);
  }

  void batch() {
    for (int64_t value = 1; value <= kMostTried; ++value) {
      Plan q = plan();
      q.micro_batch = value;
      add("micro_batch " + text(plan().micro_batch) + " -> " + text(value), q);
    }
  }

  void recompute() {
    for (Recompute kind : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan q = plan();
      q.recompute = kind;
      q.recompute_layers = 0;
      if (kind == Recompute::kSelective) q.recompute_modules = kRecomputeCoreAttention;
      add(std::string("recompute ") + name_of(plan().recompute) + " -> " + name_of(kind), q);
    }
    const int64_t most = *std::max_element(plan().stage_layers.begin(), plan().stage_layers.end());
    for (int64_t layers = 1; layers < most; ++layers) {
      Plan q = plan();
      q.recompute = Recompute::kFull;
      q.recompute_layers = layers;
      add("recompute " + text(layers) + " layers of each chunk", q);
    }
  }

  void sharding() {
    for (int64_t zero = 0; zero <= 3; ++zero) {
      Plan q = plan();
      q.zero = zero;
      add("zero " + text(plan().zero) + " -> " + text(zero), q);
    }
    const int64_t node = in_.cluster.devices_per_node_of(0) / plan().tp;
    if (plan().zero > 0 && node > 0) {
      Plan q = plan();
      q.shard_group = node;
      add("shard_group " + text(plan().shard_group) + " -> " + text(node), q);
    }
    for (double share : {0.0, 1.0}) {
      Plan q = plan();
      q.optimizer_offload = share;
      add(share == 0 ? "optimizer_offload off" : "optimizer_offload of all", q);
    }
    Plan q = plan();
    q.activation_offload = 0;
    add("activation_offload off", q);
  }

  void switches() {
    const auto toggle = [&](const char* name, bool now, auto&& set) {
      Plan q = plan();
      set(&q);
      add(std::string(name) + " " + on_off(now) + " -> " + on_off(!now), q);
    };
    const Overlap& o = plan().overlap;
    toggle("sequence_parallel", plan().split.sequence_parallel,
           [](Plan* q) { q->split.sequence_parallel = !q->split.sequence_parallel; });
    Plan q = plan();
    q.rank_order =
        q.rank_order == RankOrder::kTpCpDpPp ? RankOrder::kTpCpPpDp : RankOrder::kTpCpDpPp;
    add(std::string("rank_order ") + name_of(plan().rank_order) + " -> " + name_of(q.rank_order),
        q);
    toggle("overlap_gradients", o.gradients,
           [](Plan* q) { q->overlap.gradients = !q->overlap.gradients; });
    toggle("overlap_parameters", o.parameters,
           [](Plan* q) { q->overlap.parameters = !q->overlap.parameters; });
    toggle("overlap_tensor", o.tensor, [](Plan* q) { q->overlap.tensor = !q->overlap.tensor; });
    toggle("overlap_experts", o.experts, [](Plan* q) { q->overlap.experts = !q->overlap.experts; });
  }

  void schedules() {
    for (int64_t chunks = 1; chunks * plan().pp <= in_.model.layers() + 2 && chunks <= 16;
         ++chunks) {
      Plan q = plan();
      q.virtual_stages = chunks;
      q.stage_layers = spread(chunks * q.pp);
      const bool same = chunks == plan().virtual_stages;
      add(same ? "layers of stages as even as they go"
               : "virtual_stages " + text(plan().virtual_stages) + " -> " + text(chunks),
          q);
    }
    if (plan().pp == 1) return;
    // A layer less where embedding or head add work.
    for (const bool last : {false, true}) {
      Plan q = plan();
      const auto most = std::max_element(q.stage_layers.begin(), q.stage_layers.end());
      int64_t& end = last ? q.stage_layers.back() : q.stage_layers.front();
      if (&*most == &end || end < 2) continue;
      --end;
      ++*std::min_element(q.stage_layers.begin() + (last ? 0 : 1),
                          q.stage_layers.end() - (last ? 1 : 0));
      add(std::string("a layer less on the ") + (last ? "last" : "first") + " stage", q);
    }
  }

  const JobInput& in_;
  const Job& job_;
  const JobPrediction& now_;
  JobPricer* pricer_;
  std::vector<Change> tried_;
};

}  // namespace

std::vector<Change> single_changes(const JobInput& input, const Job& job,
                                   const JobPrediction& predicted, JobPricer* pricer) {
  return Changes(input, job, predicted, pricer).take();
}

}  // namespace shardwright
