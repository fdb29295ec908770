#include "planner/estimate.h"

#include <algorithm>
#include <cmath>

#include "planner/estimate_timer.h"

namespace shardwright {

void Estimator::Timer::set_shape() {
  const Plan& plan = *plan_;
  numbering_ = numbering_of(plan);
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
  shape_.gradient_type = plan.gradient_type;
}

Estimator::Timer::Pipeline Estimator::Timer::time_pipeline() {
  const Plan& plan = *plan_;
  const double m = static_cast<double>(plan.microbatches());
  const double v = static_cast<double>(plan.virtual_stages);
  const double pp = static_cast<double>(plan.pp);
  messages_.clear();
  double messages = 0, longest = 0;
  for (int64_t i = 0; i + 1 < plan.pp; ++i) {
    const bool known = i > 0 && stages_on_whole_nodes();
    messages_.push_back(known ? messages_.back() : message_s(i, i + 1));
    messages += messages_.back();
    longest = std::max(longest, messages_.back());
  }
  Pipeline out;
  out.stage = &stages_.front();
  double sum = 0;
  for (const StageTimes& stage : stages_) {
    const double t = stage.all.forward + stage.all.backward;
    sum += t;
    if (t > out.slowest) {
      out.slowest = t;
      out.stage = &stage;
    }
  }
  // Messages that nothing hides are paid by every microbatch, once in each direction.
  const double each = plan.overlap.pipeline ? 0 : 2 * v * longest;
  out.seconds = (m - 1 / v) * (out.slowest + each) + (sum + pp * each) / v +
                (plan.overlap.pipeline ? 2 * messages : 0);
  return out;
}

// Gradients, gathered weights and update. A stage ends earlier than the one before it by that one's
// last backward.
void Estimator::Timer::add_ends(double pipe, EstimateParts* parts) {
  const Plan& plan = *plan_;
  const double v = static_cast<double>(plan.virtual_stages);
  time_ends();
  double end = 0, early = 0;
  for (int64_t i = 0; i < plan.pp; ++i) {
    const StageTimes& stage = stages_[i];
    if (pipe - early + stage.reduction > end) {
      end = pipe - early + stage.reduction;
      parts->gradients = std::max(0.0, end - pipe);
    }
    parts->parameters = std::max(parts->parameters, stage.gather);
    parts->optimizer = std::max(parts->optimizer, stage.update);
    early += stage.all.backward / v + (i + 1 < plan.pp ? messages_[i] : 0);
  }
  parts->gradients += tied_s();
  parts->optimizer += clip_s();
}

// A tied embedding's gradient over its two stages; of a pipeline laid down the stages and back up
// both copies are on the first, which adds them up and writes both.
double Estimator::Timer::tied_s() const {
  if (!model_.tied_embeddings || plan_->pp == 1) return 0;
  const int64_t rows = padded_vocab_share(model_, plan_->tp);
  const Bytes table = rows * model_.hidden * size_of(plan_->gradient_type);
  if (stage_of_chunk(*plan_, plan_->pp * plan_->virtual_stages - 1) == 0) {
    return pass(StepOp::kTiedReduce, {PassKind::kAdd, rows, model_.hidden, 4 * table});
  }
  return collective(CollectiveKind::kAllReduce, Axis::kTied, static_cast<double>(table),
                    {0, numbering_.together * (plan_->pp - 1), 2});
}

double Estimator::Timer::clip_s() const {
  return collective(CollectiveKind::kAllReduce, Axis::kWorld, 16, {0, 1, plan_->ranks()});
}

// Shards that are broadcast one by one cost by their number; collectives price their own latency.
double Estimator::Timer::per_step_s() const {
  const bool one_by_one = kernels_.broadcast_shards && (plan_->zero == 1 || plan_->zero == 2);
  return at(Factor::kFixed) +
         (one_by_one ? at(Factor::kMember) * static_cast<double>(shards_of(*plan_, false)) : 0);
}

// Waiting in proportion to the work: more of it on more nodes.
double Estimator::Timer::slowdown() const {
  const double nodes = std::max(1.0, static_cast<double>(plan_->ranks()) /
                                         static_cast<double>(cluster_.devices_per_node_of(0)));
  return at(Factor::kSkew) * std::log2(nodes) + at(Factor::kPace) - 1;
}

const PlanPrices& Estimator::Timer::prices(const Plan& plan) {
  plan_ = &plan;
  set_shape();
  time_parts();
  time_stages();
  time_ends();
  PlanPrices& out = prices_;
  out.chunks.clear();
  for (const ChunkTimes& c : chunks_) {
    out.chunks.push_back({c.forward, c.backward, c.backward_input, c.backward_weight, c.spent});
  }
  out.stages.clear();
  for (const StageTimes& s : stages_) out.stages.push_back({s.reduction, s.gather, s.update});
  out.messages.clear();
  double last = 0;
  int64_t known = -1;
  for (size_t i = 0; i + 1 < chunks_.size(); ++i) {
    const int64_t from = stage_of_chunk(plan, static_cast<int64_t>(i));
    const int64_t to = stage_of_chunk(plan, static_cast<int64_t>(i) + 1);
    if (from != to && std::min(from, to) != known) {
      known = std::min(from, to);
      last = message_s(from, to);
    }
    out.messages.push_back(from == to ? 0 : last);
  }
  out.tied = tied_s();
  out.clip = clip_s();
  out.pace = 1 + slowdown();
  out.fixed = per_step_s();
  return out;
}

const Estimator::PartSeconds& Estimator::Timer::parts(const Plan& plan) {
  plan_ = &plan;
  set_shape();
  time_parts();
  PartSeconds& out = part_seconds_;
  EstimateParts ignored;
  Pass forward, backward;
  const bool keeps = plan.recompute != Recompute::kFull;
  // Seconds of a part; `count` of them go into the whole.
  const auto seconds = [&](const PartTimes& part, double count) {
    Pass all = part.backward;
    if (keeps) all.add(part.again, 1);
    forward.add(part.forward, count);
    backward.add(all, count);
    return pass_seconds(part.forward, 0, 0, &ignored) + pass_seconds(all, 0, 0, &ignored);
  };
  out.kinds.clear();
  for (size_t kind = 0; kind < kind_times_.size(); ++kind) {
    out.kinds.push_back(
        seconds(kind_times_[kind], static_cast<double>(before_[kind][model_.layers()])));
  }
  out.embedding = seconds(embedding_, 1);
  out.head = seconds(head_, 1);
  const auto modules = static_cast<double>(plan.mtp_layers);
  if (modules > 0) {
    out.head += modules *
                (seconds(mtp_, modules) + seconds(kind_times_[model_.layer_kind.back()], modules) +
                 seconds(head_, modules));
  }
  out.whole = pass_seconds(forward, 0, 0, &ignored) + pass_seconds(backward, 0, 0, &ignored);
  out.pace = 1 + slowdown();
  return out;
}

Estimate Estimator::Timer::estimate(const Plan& plan) {
  plan_ = &plan;
  set_shape();
  time_parts();
  time_stages();
  const Pipeline pipeline = time_pipeline();

  const double m = static_cast<double>(plan.microbatches());
  Estimate out;
  out.parts = pipeline.stage->all.spent;
  for (double* part : {&out.parts.compute, &out.parts.tensor, &out.parts.context,
                       &out.parts.experts, &out.parts.sharding, &out.parts.host}) {
    *part *= m;
  }
  out.parts.bubble = pipeline.seconds - m * pipeline.slowest;
  add_ends(pipeline.seconds, &out.parts);
  const double work =
      pipeline.seconds + out.parts.gradients + out.parts.parameters + out.parts.optimizer;
  out.parts.fixed = per_step_s() + slowdown() * work;
  out.step_s = work + out.parts.fixed;
  return out;
}

Estimator::Estimator(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
                     const Factors& factors, int64_t rank)
    : timer_(std::make_unique<Timer>(model, cluster, kernels, factors, rank)) {}
Estimator::~Estimator() = default;
Estimate Estimator::estimate(const Plan& plan) { return timer_->estimate(plan); }
const PlanPrices& Estimator::prices(const Plan& plan) { return timer_->prices(plan); }
const Estimator::PartSeconds& Estimator::parts(const Plan& plan) { return timer_->parts(plan); }
void Estimator::set_factors(const Factors& factors) { timer_->set_factors(factors); }

}  // namespace shardwright
