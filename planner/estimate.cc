#include "planner/estimate.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "costmodel/layer_steps.h"
#include "planner/program/closing_work.h"

namespace shardwright {
namespace {

// Copies between device and host: PCIe 4 x16, of whose 32 GB/s 25 are reached (facts.md section 3).
constexpr double kHostLinkBytesPerS = 25e9;

// Seconds of one pass over a part of the model, by what is spent, and what the host has to launch.
struct Pass {
  double compute = 0, tp = 0, cp = 0, ep = 0;
  double steps = 0, moe = 0;
  void add(const Pass& other, double times) {
    compute += times * other.compute;
    tp += times * other.tp;
    cp += times * other.cp;
    ep += times * other.ep;
    steps += times * other.steps;
    moe += times * other.moe;
  }
};

struct PartTimes {
  Pass forward, again, backward;
  double dense = 0, experts = 0;  // parameters on this rank
};

// max(a, b), rounded where both are close: (a^4 + b^4)^(1/4). Power 3 to 6 fit launch-bound runs
// equally well (modelling_runs.md section 3, "Launch overhead").
double smooth_max(double a, double b) {
  if (a < b) std::swap(a, b);
  if (b < 0.1 * a) return a;
  const double ratio = b / a, square = ratio * ratio;
  return a * std::sqrt(std::sqrt(1 + square * square));
}

// One microbatch through one chunk.
struct ChunkTimes {
  double forward = 0, backward = 0;
  EstimateParts spent;  // compute, tensor, context, experts, sharding and host
  double dense = 0, experts = 0;
};

void add(EstimateParts* sum, const EstimateParts& part) {
  sum->compute += part.compute;
  sum->tensor += part.tensor;
  sum->context += part.context;
  sum->experts += part.experts;
  sum->sharding += part.sharding;
  sum->host += part.host;
}

bool is_unaligned(const GemmWork& work) {
  const int64_t a = work.layout == GemmLayout::kWeightGrad ? work.m : work.k;
  return work.type != DataType::kFp32 && (a % 8 != 0 || work.n % 8 != 0);
}

}  // namespace

class Estimator::Timer {
 public:
  Timer(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
        const Factors& factors)
      : model_(model),
        cluster_(cluster),
        kernels_(kernels),
        factors_(factors),
        pricer_(cluster, 0, cluster.devices_per_node_of(0)) {
    const size_t kinds = model.kinds.size(), layers = model.layer_kind.size();
    before_.assign(kinds, std::vector<int64_t>(layers + 1, 0));
    example_.assign(kinds, -1);
    for (size_t i = 0; i < layers; ++i) {
      for (size_t kind = 0; kind < kinds; ++kind) {
        before_[kind][i + 1] = before_[kind][i] + (model.layer_kind[i] == static_cast<int>(kind));
      }
      if (example_[model.layer_kind[i]] < 0) example_[model.layer_kind[i]] = static_cast<int>(i);
    }
    kind_times_.resize(kinds);
  }

  void set_factors(const Factors& factors) { factors_ = factors; }
  Estimate estimate(const Plan& plan);

 private:
  double at(Factor factor) const { return factors_.at(factor); }

  // --- Prices -----------------------------------------------------------------------------------
  double gemm(const GemmWork& work) const {
    double seconds = pricer_.gemm_s(work);
    seconds *= at(storage_of(work.type) == work.type ? Factor::kGemm : Factor::kFp8Gemm);
    if (!is_unaligned(work)) return seconds;
    return seconds * at(work.count > 1 ? Factor::kUnalignedBatch : Factor::kUnaligned);
  }
  double attention(const AttentionWork& work, int64_t layer) const {
    const AttentionSpec& spec = model_.layer(layer).attention;
    const double seconds =
        pricer_.attention_s(work) * at(Factor::kAttention) * at(Factor::kStackAttention);
    return spec.mla() || spec.sinks ? seconds * at(Factor::kSpecialAttention) : seconds;
  }
  double pass(StepOp op, const PassWork& work) const {
    const double seconds = pricer_.pass_s(work);
    switch (op) {
      case StepOp::kQuantise:
        return seconds * at(Factor::kQuantise);
      case StepOp::kDispatch:
      case StepOp::kCombine:
        return seconds * at(Factor::kPermute);
      case StepOp::kAccumulate:
        return seconds;
      default:
        return seconds * at(Factor::kPass);
    }
  }
  double collective(const CollectiveWork& work, const GroupPlacement& group) const {
    const LevelSeconds seconds = collective_levels(cluster_, work, group);
    return seconds.inside * at(Factor::kNodeLink) + seconds.outside * at(Factor::kNetwork);
  }
  double collective(CollectiveKind kind, Axis axis, double bytes,
                    const GroupPlacement& group) const {
    return collective({.kind = kind, .axis = axis, .bytes = static_cast<Bytes>(bytes)}, group);
  }
  GroupPlacement group_of(Axis axis) const {
    const int64_t etp = plan_->split.expert_tp(plan_->tp);
    if (axis == Axis::kCp) return {0, plan_->tp, plan_->split.cp};
    if (axis == Axis::kEp) return {0, etp, plan_->split.ep};
    return {0, 1, plan_->tp};
  }

  void add_step(const Step& step, Pass* pass_times) const {
    pass_times->steps += 1;
    if (const auto* work = std::get_if<GemmWork>(&step.work)) {
      pass_times->compute += gemm(*work);
    } else if (const auto* attention_work = std::get_if<AttentionWork>(&step.work)) {
      pass_times->compute += attention(*attention_work, step.layer);
    } else if (const auto* pass_work = std::get_if<PassWork>(&step.work)) {
      pass_times->compute += pass(step.op, *pass_work);
    } else {
      const auto& work_of = std::get<CollectiveWork>(step.work);
      const double seconds = collective(work_of, group_of(work_of.axis));
      if (work_of.axis == Axis::kCp) {
        pass_times->cp += seconds;
      } else if (work_of.axis == Axis::kEp) {
        pass_times->ep += seconds;
      } else {
        pass_times->tp += seconds;
      }
    }
  }
  Pass price(double moe) {
    Pass sum;
    for (const Step& step : steps_) add_step(step, &sum);
    if (!steps_.empty()) sum.moe = moe;
    return sum;
  }

  // --- Parts of the model -----------------------------------------------------------------------
  PartTimes time_part(ChunkPart part, int64_t layer);
  void time_parts();
  ChunkTimes time_chunk(int64_t index) const;
  double pass_seconds(const Pass& spent, double sharding, EstimateParts* parts) const;
  double beside(double compute, double communication) const {
    return std::max(compute, communication) + at(Factor::kDrag) * std::min(compute, communication);
  }

  // --- The whole step ---------------------------------------------------------------------------
  struct StageTimes {
    ChunkTimes all;  // of its chunks together, for one microbatch
    int64_t first_rank = 0;
    double reduction = 0, gather = 0, update = 0;
  };
  void time_stages();
  double message_s(int64_t stage) const;
  void time_ends();
  double sharded_bytes_s(CollectiveKind kind, double dense, double experts, double size,
                         int64_t first) const;
  double reduction_s(const StageTimes& stage) const;
  double gather_s(const StageTimes& stage) const;
  double update_s(const StageTimes& stage) const;
  int64_t shards(bool experts) const;

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  Kernels kernels_;
  Factors factors_;
  Pricer pricer_;
  std::vector<std::vector<int64_t>> before_;  // per kind: layers of it before each layer
  std::vector<int> example_;                  // per kind: one of its layers, or -1

  const Plan* plan_ = nullptr;
  ChunkShape shape_;
  std::vector<Step> steps_;
  std::vector<PartTimes> kind_times_;
  PartTimes embedding_, head_, mtp_;
  std::vector<StageTimes> stages_;
  std::vector<double> messages_;  // between a stage and the next
};

PartTimes Estimator::Timer::time_part(ChunkPart part, int64_t layer) {
  PartTimes out;
  const bool moe = part == ChunkPart::kLayer && model_.layer(layer).moe.experts > 0;
  steps_.clear();
  append_forward(model_, shape_, part, layer, &steps_);
  out.forward = price(moe);
  steps_.clear();
  append_backward(model_, shape_, part, layer, &steps_);
  out.backward = price(moe);
  const bool again = shape_.recompute || shape_.recompute_modules != 0;
  if (part == ChunkPart::kLayer && again) {
    ChunkShape all = shape_;
    all.recompute_layers = 0;
    steps_.clear();
    append_recompute(model_, all, layer, &steps_);
    const bool routed = shape_.recompute || (shape_.recompute_modules & kRecomputeMoe) != 0;
    out.again = price(moe && routed);
  }
  return out;
}

void Estimator::Timer::time_parts() {
  const double hidden = static_cast<double>(model_.hidden);
  const double bias = model_.norm == Norm::kLayerNorm ? 2 : 1;
  for (size_t kind = 0; kind < kind_times_.size(); ++kind) {
    if (example_[kind] < 0) continue;
    PartTimes& times = kind_times_[kind];
    times = time_part(ChunkPart::kLayer, example_[kind]);
    const LayerShape s(model_, shape_, model_.kinds[kind]);
    const int64_t routed = s.local_experts * (s.expert_up + s.expert_ffn) * s.hidden;
    times.experts = static_cast<double>(routed);
    const double norms = s.layer.ops.empty() ? s.layer.norms * bias * hidden : 0;
    times.dense = static_cast<double>(s.weights() - routed) + norms;
  }
  if (model_.layer_list()) {
    embedding_ = head_ = mtp_ = PartTimes();
    return;
  }
  const double table = static_cast<double>(padded_vocab_share(model_, plan_->tp)) * hidden;
  embedding_ = time_part(ChunkPart::kEmbedding, -1);
  embedding_.dense = table;
  if (model_.position == Position::kLearned) {
    embedding_.dense += static_cast<double>(model_.max_positions) * hidden;
  }
  head_ = time_part(ChunkPart::kHead, -1);
  head_.dense = bias * hidden + (model_.tied_embeddings && plan_->pp == 1 ? 0 : table);
  if (plan_->mtp_layers > 0) mtp_ = time_part(ChunkPart::kMtp, -1);
}

double Estimator::Timer::pass_seconds(const Pass& spent, double sharding,
                                      EstimateParts* parts) const {
  const Overlap& overlap = plan_->overlap;
  double busy = spent.compute;
  const auto join = [&](double communication, bool hidden, double* exposed) {
    const double with = hidden ? beside(busy, communication) : busy + communication;
    *exposed += with - busy;
    busy = with;
  };
  parts->compute += spent.compute;
  join(spent.tp, overlap.tensor, &parts->tensor);
  // Blocks of keys and values travel while the block before is worked on.
  join(spent.cp, plan_->split.cp_kind == CpKind::kRing, &parts->context);
  join(spent.ep, overlap.experts, &parts->experts);
  join(sharding, overlap.parameters, &parts->sharding);
  const double host = kernels_.host_share *
                      (spent.steps * at(Factor::kHostStep) + spent.moe * at(Factor::kHostMoe));
  const double seconds = smooth_max(busy, host);
  parts->host += seconds - busy;
  return seconds;
}

ChunkTimes Estimator::Timer::time_chunk(int64_t index) const {
  const int64_t chunks = plan_->pp * plan_->virtual_stages;
  int64_t first = 0;
  for (int64_t i = 0; i < index; ++i) first += plan_->stage_layers[i];
  const int64_t end = first + plan_->stage_layers[index];
  const int64_t again =
      plan_->recompute_layers == 0 ? end : std::min(end, first + plan_->recompute_layers);
  Pass forward, backward;
  ChunkTimes out;
  const auto include = [&](const PartTimes& part, double count, double recomputed) {
    forward.add(part.forward, count);
    backward.add(part.backward, count);
    backward.add(part.again, recomputed);
    out.dense += count * part.dense;
    out.experts += count * part.experts;
  };
  for (size_t kind = 0; kind < kind_times_.size(); ++kind) {
    const std::vector<int64_t>& before = before_[kind];
    const int64_t count = before[end] - before[first];
    if (count == 0) continue;
    include(kind_times_[kind], static_cast<double>(count),
            static_cast<double>(before[again] - before[first]));
  }
  if (index == 0) include(embedding_, 1, 0);
  if (index == chunks - 1) {
    include(head_, 1, 0);
    const double modules = static_cast<double>(plan_->mtp_layers);
    if (modules > 0) {
      include(mtp_, modules, 0);
      include(kind_times_[model_.layer_kind.back()], modules, modules);
      include(head_, modules, 0);
    }
  }
  double gather = 0, scatter = 0;
  if (plan_->zero == 3) {
    const double weight = static_cast<double>(size_of(storage_of(plan_->precision)));
    const double gradient = static_cast<double>(size_of(plan_->gradient_type));
    gather = sharded_bytes_s(CollectiveKind::kAllGather, out.dense, out.experts, weight, 0);
    scatter = sharded_bytes_s(CollectiveKind::kReduceScatter, out.dense, out.experts, gradient, 0);
  }
  out.forward = pass_seconds(forward, gather, &out.spent);
  out.backward = pass_seconds(backward, gather + scatter, &out.spent);
  return out;
}

// Ranks that share a sharded copy of the dense parameters, or of the routed experts.
int64_t Estimator::Timer::shards(bool experts) const {
  const int64_t replicas = plan_->dp * plan_->split.cp;
  const int64_t dense = plan_->shard_group == 0 ? replicas : plan_->shard_group;
  if (!experts) return dense;
  const int64_t holders =
      plan_->tp * replicas / (plan_->split.ep * plan_->split.expert_tp(plan_->tp));
  return std::max<int64_t>(1, std::min(dense, holders));
}

// A collective over the sharded copies: of the dense parameters, then of the experts.
double Estimator::Timer::sharded_bytes_s(CollectiveKind kind, double dense, double experts,
                                         double size, int64_t first) const {
  const int64_t block = plan_->split.ep * plan_->split.expert_tp(plan_->tp);
  double seconds = collective(kind, Axis::kDp, dense * size, {first, plan_->tp, shards(false)});
  if (experts > 0) {
    seconds += collective(kind, Axis::kExpertDp, experts * size, {first, block, shards(true)});
  }
  return seconds;
}

// From a stage to the next.
double Estimator::Timer::message_s(int64_t stage) const {
  const double parts = static_cast<double>(
      shape_.split.sequence_parallel || kernels_.scattered_messages ? plan_->tp : 1);
  const double bytes =
      static_cast<double>(shape_.tokens() * model_.hidden * size_of(storage_of(plan_->precision)));
  const int64_t block = plan_->ranks() / plan_->pp;
  const CollectiveWork send{CollectiveKind::kSend, Axis::kPp, static_cast<Bytes>(bytes / parts)};
  return at(Factor::kMessage) * collective_s(cluster_, send, {stage * block, block, 2});
}

// Gradients over all replicas after (or behind) the last backward.
double Estimator::Timer::reduction_s(const StageTimes& stage) const {
  const double size = static_cast<double>(size_of(plan_->gradient_type));
  const int64_t replicas = plan_->dp * plan_->split.cp;
  if (plan_->zero == 3) {
    // Scattered in every backward already; copies of the shards remain to be summed.
    const int64_t shard = shards(false);
    return collective(CollectiveKind::kAllReduce, Axis::kDp,
                      stage.all.dense * size / static_cast<double>(shard),
                      {stage.first_rank, plan_->tp * shard, replicas / shard});
  }
  const int64_t block = plan_->split.ep * plan_->split.expert_tp(plan_->tp);
  const bool whole = plan_->zero == 0 || plan_->shard_group != 0;
  const auto kind = whole ? CollectiveKind::kAllReduce : CollectiveKind::kReduceScatter;
  double seconds =
      collective(kind, Axis::kDp, stage.all.dense * size, {stage.first_rank, plan_->tp, replicas});
  if (stage.all.experts > 0) {
    seconds +=
        collective(kind, Axis::kExpertDp, stage.all.experts * size,
                   {stage.first_rank, block, std::max<int64_t>(1, plan_->tp * replicas / block)});
  }
  return seconds;
}

double Estimator::Timer::gather_s(const StageTimes& stage) const {
  if (plan_->zero == 0 || plan_->zero == 3) return 0;
  const double size = static_cast<double>(size_of(storage_of(plan_->precision)));
  return sharded_bytes_s(CollectiveKind::kAllGather, stage.all.dense, stage.all.experts, size,
                         stage.first_rank);
}

double Estimator::Timer::update_s(const StageTimes& stage) const {
  ClosingShape shape;
  shape.gradients = static_cast<int64_t>(stage.all.dense + stage.all.experts);
  shape.updated = shape.gradients;
  if (plan_->zero > 0) {
    shape.updated = static_cast<int64_t>(stage.all.dense / static_cast<double>(shards(false)) +
                                         stage.all.experts / static_cast<double>(shards(true)));
  }
  if (plan_->zero == 3) shape.gradients = shape.updated;
  shape.optimizer = plan_->optimizer;
  shape.weight_type = storage_of(plan_->precision);
  shape.gradient_type = plan_->gradient_type;
  shape.moment_type = plan_->moment_type;
  const double offloaded =
      plan_->optimizer_offload * static_cast<double>(shape.updated) *
      static_cast<double>(size_of(shape.gradient_type) + size_of(shape.weight_type));
  return pricer_.pass_s(square_sum_work(shape)) +
         (1 - plan_->optimizer_offload) * pricer_.pass_s(update_work(shape)) +
         pricer_.pass_s(zero_work(shape)) + offloaded / kHostLinkBytesPerS;
}

void Estimator::Timer::time_stages() {
  const int64_t pp = plan_->pp, chunks = pp * plan_->virtual_stages;
  stages_.assign(pp, {});
  ChunkTimes times;
  int64_t layers = -1;
  for (int64_t index = 0; index < chunks; ++index) {
    const bool end = index <= 1 || index == chunks - 1;
    // Chunks between the ends with as many layers of the only kind cost the same.
    if (end || model_.kinds.size() > 1 || plan_->stage_layers[index] != layers) {
      times = time_chunk(index);
    }
    layers = plan_->stage_layers[index];
    StageTimes& stage = stages_[index % pp];
    stage.first_rank = index % pp * (plan_->ranks() / pp);
    stage.all.forward += times.forward;
    stage.all.backward += times.backward;
    stage.all.dense += times.dense;
    stage.all.experts += times.experts;
    add(&stage.all.spent, times.spent);
  }
}

// What each stage does after its last backward, as far as nothing hides it.
void Estimator::Timer::time_ends() {
  const int64_t block = plan_->ranks() / plan_->pp, node = cluster_.devices_per_node_of(0);
  const bool alike = block % node == 0 || node % block == 0;
  const StageTimes* before = nullptr;
  for (StageTimes& stage : stages_) {
    const bool same = before != nullptr && alike && before->all.dense == stage.all.dense &&
                      before->all.experts == stage.all.experts &&
                      before->all.backward == stage.all.backward;
    if (same) {
      stage.reduction = before->reduction;
      stage.gather = before->gather;
      stage.update = before->update;
    } else {
      stage.reduction = reduction_s(stage);
      stage.gather = gather_s(stage);
      stage.update = update_s(stage);
      if (plan_->overlap.gradients && stage.reduction > 0) {
        stage.reduction = beside(stage.all.backward, stage.reduction) - stage.all.backward;
      }
      if (plan_->overlap.parameters && stage.gather > 0) {
        stage.gather = beside(stage.all.forward, stage.gather) - stage.all.forward;
      }
    }
    before = &stage;
  }
}

Estimate Estimator::Timer::estimate(const Plan& plan) {
  plan_ = &plan;
  shape_ = ChunkShape();
  shape_.num_layers = model_.layers();
  shape_.tp = plan.tp;
  shape_.split = plan.split;
  shape_.kernels = kernels_;
  shape_.micro_batch = plan.micro_batch;
  shape_.seq = plan.seq;
  shape_.recompute = plan.recompute == Recompute::kFull;
  shape_.recompute_layers = plan.recompute_layers;
  if (plan.recompute == Recompute::kSelective) shape_.recompute_modules = plan.recompute_modules;
  shape_.type = plan.precision;
  time_parts();
  time_stages();

  const double m = static_cast<double>(plan.microbatches());
  const double v = static_cast<double>(plan.virtual_stages);
  const double pp = static_cast<double>(plan.pp);
  messages_.clear();
  double messages = 0, longest = 0;
  for (int64_t i = 0; i + 1 < plan.pp; ++i) {
    messages_.push_back(message_s(i));
    messages += messages_.back();
    longest = std::max(longest, messages_.back());
  }
  double sum = 0, slowest = 0;
  const StageTimes* slow = &stages_.front();
  for (const StageTimes& stage : stages_) {
    const double t = stage.all.forward + stage.all.backward;
    sum += t;
    if (t > slowest) {
      slowest = t;
      slow = &stage;
    }
  }
  // Messages that nothing hides are paid by every microbatch, once in each direction.
  const double each = plan.overlap.pipeline ? 0 : 2 * v * longest;
  const double pipe = (m - 1 / v) * (slowest + each) + (sum + pp * each) / v +
                      (plan.overlap.pipeline ? 2 * messages : 0);

  // A stage ends earlier than the one before it by that one's last backward.
  time_ends();
  double end = 0, early = 0, gradients = 0, parameters = 0, optimizer = 0;
  for (int64_t i = 0; i < plan.pp; ++i) {
    const StageTimes& stage = stages_[i];
    if (pipe - early + stage.reduction > end) {
      end = pipe - early + stage.reduction;
      gradients = std::max(0.0, end - pipe);
    }
    parameters = std::max(parameters, stage.gather);
    optimizer = std::max(optimizer, stage.update);
    early += stage.all.backward / v + (i + 1 < plan.pp ? messages_[i] : 0);
  }
  if (model_.tied_embeddings && plan.pp > 1) {
    const double table = static_cast<double>(padded_vocab_share(model_, plan.tp) * model_.hidden *
                                             size_of(plan.gradient_type));
    gradients += collective(CollectiveKind::kAllReduce, Axis::kTied, table,
                            {0, plan.ranks() / plan.pp * (plan.pp - 1), 2});
  }
  optimizer += collective(CollectiveKind::kAllReduce, Axis::kWorld, 16, {0, 1, plan.ranks()});

  Estimate out;
  out.parts = slow->all.spent;
  for (double* part : {&out.parts.compute, &out.parts.tensor, &out.parts.context,
                       &out.parts.experts, &out.parts.sharding, &out.parts.host}) {
    *part *= m;
  }
  out.parts.bubble = pipe - m * slowest;
  out.parts.gradients = gradients;
  out.parts.parameters = parameters;
  out.parts.optimizer = optimizer;
  const double work = pipe + gradients + parameters + optimizer;
  const double pace = at(Factor::kPace) - 1;
  const double nodes = std::max(1.0, static_cast<double>(plan.ranks()) /
                                         static_cast<double>(cluster_.devices_per_node_of(0)));
  out.parts.fixed = at(Factor::kFixed) + at(Factor::kSkew) * std::log2(nodes) * work +
                    (plan.zero > 0 ? at(Factor::kMember) * static_cast<double>(shards(false)) : 0) +
                    pace * work;
  out.step_s = work + out.parts.fixed;
  return out;
}

Estimator::Estimator(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
                     const Factors& factors)
    : timer_(std::make_unique<Timer>(model, cluster, kernels, factors)) {}
Estimator::~Estimator() = default;
Estimate Estimator::estimate(const Plan& plan) { return timer_->estimate(plan); }
void Estimator::set_factors(const Factors& factors) { timer_->set_factors(factors); }

}  // namespace shardwright
