// What a Step takes under the factors of a stack.
#include "planner/estimate_timer.h"

namespace shardwright {
namespace {

bool is_unaligned(const GemmWork& work) {
  const int64_t a = work.layout == GemmLayout::kWeightGrad ? work.m : work.k;
  return work.type != DataType::kFp32 && (a % 8 != 0 || work.n % 8 != 0);
}

bool same(const GemmWork& a, const GemmWork& b) {
  return a.m == b.m && a.n == b.n && a.k == b.k && a.count == b.count && a.layout == b.layout &&
         a.type == b.type;
}

bool makes_weight_gradient(const Step& step) {
  const auto* work = std::get_if<GemmWork>(&step.work);
  return step.op == StepOp::kAccumulate ||
         (work != nullptr && work->layout == GemmLayout::kWeightGrad);
}

}  // namespace

Estimator::Timer::Timer(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
                        const Factors& factors, int64_t rank)
    : model_(model),
      cluster_(cluster),
      kernels_(kernels),
      factors_(factors),
      pricer_(cluster, rank, cluster.devices_per_node_of(rank)),
      host_bytes_per_s_(kHostLinkReached * cluster.device_of(rank).host_link.bytes_per_s),
      outgrown_flash_(kernels.flash_2 &&
                      cluster.device_of(rank).peak_flops_per_s.count(DataType::kFp8) > 0) {
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

// Recomputation repeats products of the forward, and kinds of layers share those of attention: each
// is priced once for a plan. A product that falls on the place of another takes it over.
double Estimator::Timer::gemm(const GemmWork& work) {
  const auto key = static_cast<uint64_t>(31 * work.m + 7 * work.n + 3 * work.k) +
                   static_cast<uint64_t>(work.layout);
  // The upper bits of a product with 2^64 over the golden ratio: sizes are multiples of large
  // powers of two (Knuth, The Art of Computer Programming, volume 3, section 6.4).
  KnownGemm& known = known_gemms_[key * 0x9E3779B97F4A7C15u >> (64 - kKnownGemmBits)];
  if (known.of != parts_timed_ || !same(known.work, work)) {
    known = {work, gemm_anew(work), parts_timed_};
  }
  return known.seconds;
}

double Estimator::Timer::gemm_anew(const GemmWork& work) const {
  double seconds = pricer_.gemm_s(work);
  seconds *= at(storage_of(work.type) == work.type ? Factor::kGemm : Factor::kFp8Gemm);
  if (!is_unaligned(work)) return seconds;
  return seconds * at(work.count > 1 ? Factor::kUnalignedBatch : Factor::kUnaligned);
}

double Estimator::Timer::attention(const AttentionWork& work, int64_t layer) const {
  const AttentionSpec& spec = model_.layer(layer).attention;
  double seconds = pricer_.attention_s(work) * at(Factor::kAttention) * at(Factor::kStackAttention);
  if (outgrown_flash_) seconds *= at(Factor::kFlash2);
  return spec.mla() || spec.sinks ? seconds * at(Factor::kSpecialAttention) : seconds;
}

double Estimator::Timer::pass(StepOp op, const PassWork& work) const {
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

double Estimator::Timer::collective(const CollectiveWork& work, const GroupPlacement& group) const {
  const LevelSeconds seconds = collective_levels(cluster_, work, group);
  return seconds.inside * at(Factor::kNodeLink) + seconds.outside * at(Factor::kNetwork);
}

double Estimator::Timer::collective(CollectiveKind kind, Axis axis, double bytes,
                                    const GroupPlacement& group) const {
  return collective({.kind = kind, .axis = axis, .bytes = static_cast<Bytes>(bytes)}, group);
}

GroupPlacement Estimator::Timer::group_of(Axis axis) const {
  const int64_t etp = plan_->split.expert_tp(plan_->tp);
  if (axis == Axis::kCp) return group(0, plan_->tp, plan_->split.cp);
  if (axis == Axis::kEp) return group(0, etp, plan_->split.ep);
  return group(0, 1, plan_->tp);
}

// What a tensor-parallel collective runs beside where these overlap: the product whose input a
// gather brings, or the one whose result a reduction adds up. 0 where another pass lies between.
double Estimator::Timer::product_beside_s(size_t index) {
  size_t at = index;
  if (steps_[index].op == StepOp::kSequenceGather) {
    do ++at;
    while (at < steps_.size() && steps_[at].op == StepOp::kQuantise);
  } else {
    --at;  // past the end for the first
  }
  const auto* product = at < steps_.size() ? std::get_if<GemmWork>(&steps_[at].work) : nullptr;
  return product == nullptr ? 0 : gemm(*product);
}

void Estimator::Timer::add_step(size_t index, Pass* pass_times) {
  const Step& step = steps_[index];
  pass_times->steps += 1;
  if (const auto* work = std::get_if<GemmWork>(&step.work)) {
    pass_times->compute += gemm(*work);
  } else if (const auto* attention_work = std::get_if<AttentionWork>(&step.work)) {
    pass_times->compute += attention(*attention_work, step.layer);
  } else if (const auto* pass_work = std::get_if<PassWork>(&step.work)) {
    pass_times->compute += pass(step.op, *pass_work);
    pass_times->steps += static_cast<double>(pass_work->count - 1);
  } else {
    const auto& work_of = std::get<CollectiveWork>(step.work);
    const double seconds = collective(work_of, group_of(work_of.axis));
    if (work_of.axis == Axis::kCp) {
      pass_times->cp += seconds;
    } else if (work_of.axis == Axis::kEp) {
      pass_times->ep += seconds;
    } else {
      pass_times->tp += seconds;
      if (plan_->overlap.tensor) {
        pass_times->tp_bare += std::max(0.0, seconds - product_beside_s(index));
      }
    }
  }
}

Estimator::Timer::Pass Estimator::Timer::price(double moe, Pass* weight) {
  Pass sum;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (weight == nullptr || !makes_weight_gradient(steps_[i])) {
      add_step(i, &sum);
      continue;
    }
    Pass one;
    add_step(i, &one);
    sum.add(one, 1);
    weight->add(one, 1);
  }
  if (!steps_.empty()) sum.moe = moe;
  return sum;
}

}  // namespace shardwright
