#include "costmodel/pricer.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr DataType kAllTypes[] = {DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kFp8,
                                  DataType::kNvfp4};

// Whose measurements stand in for a type that has none: the same units at another width.
DataType stand_in(DataType type) {
  if (type == DataType::kNvfp4) return DataType::kFp8;
  return type == DataType::kFp16 ? DataType::kBf16 : type;
}

struct ComputePricer {
  const Pricer& pricer;
  double operator()(const GemmWork& work) const { return pricer.gemm_s(work); }
  double operator()(const AttentionWork& work) const { return pricer.attention_s(work); }
  double operator()(const PassWork& work) const { return pricer.pass_s(work); }
  double operator()(const CollectiveWork& work) const {
    SW_CHECK(false, name_of(work.kind) << " needs a group");
  }
};

}  // namespace

// The type's model, else its stand-in's, else the default shares; a layout or direction that is not
// measured takes the forward's and the factor `derived`.
template <typename Model, typename Models>
Pricer::Priced<Model> Pricer::resolve(const Models& models, DataType type, size_t which,
                                      double derived) const {
  static const Model kDefault;
  const auto peak = device_.peak_flops_per_s.find(type);
  if (peak == device_.peak_flops_per_s.end()) return {};
  auto found = models.find(type);
  if (found == models.end()) found = models.find(stand_in(type));
  Priced<Model> out;
  out.model = &kDefault;
  if (found != models.end()) {
    const auto& own = found->second.at(which);
    const auto& forward = found->second.at(0);
    if (own || forward) out.model = own ? &*own : &*forward;
    out.own = own.has_value();
    if (own) derived = 1;
  }
  out.rates = rates_of(*out.model, peak->second, device_.memory_bytes_per_s, device_.processors);
  out.factor = derived * device_.factors.sustained.value;
  return out;
}

Pricer::Pricer(const ClusterSpec& cluster, int64_t rank, int64_t active_ranks)
    : device_(cluster.device_of(rank)), rates_(device_.rates_for(active_ranks)) {
  const DeviceFactors& factors = device_.factors;
  const std::array<double, 3> layouts = {1, factors.input_grad.value, factors.weight_grad.value};
  const std::array<double, 2> directions = {1, factors.attention_backward.value};
  for (DataType type : kAllTypes) {
    const size_t t = static_cast<size_t>(type);
    for (size_t i = 0; i < layouts.size(); ++i) {
      gemm_[t][i] = resolve<GemmModel>(rates_.gemm, type, i, layouts[i]);
      gemm_[t][i].factor *= factors.gemm.value;
    }
    for (size_t i = 0; i < directions.size(); ++i) {
      attention_[t][i] = resolve<AttentionModel>(rates_.attention, type, i, directions[i]);
      attention_[t][i].factor *= factors.attention.value;
    }
  }
}

double Pricer::gemm_s(const GemmWork& work) const {
  const auto& priced = gemm_[static_cast<size_t>(work.type)][static_cast<size_t>(work.layout)];
  SW_CHECK(priced.model != nullptr, device_.name << " has no peak for " << name_of(work.type));
  return device_.launch_s + base_s(*priced.model, priced.rates, work) *
                                correction_of(*priced.model, work) * priced.factor;
}

double Pricer::attention_s(const AttentionWork& work) const {
  const auto& priced = attention_[static_cast<size_t>(work.type)][work.backward ? 1 : 0];
  SW_CHECK(priced.model != nullptr, device_.name << " has no peak for " << name_of(work.type));
  // A direction without a model of its own is priced as the forward; the factor does the rest.
  AttentionWork like = work;
  like.backward = work.backward && priced.own;
  return device_.launch_s + base_s(*priced.model, priced.rates, like) *
                                correction_of(*priced.model, like) * priced.factor;
}

double Pricer::cache_s(const AttentionWork& work) const {
  const auto& priced = attention_[static_cast<size_t>(work.type)][0];
  if (priced.model == nullptr) return 0;
  return cache_base_s(*priced.model, priced.rates, work) * correction_of(*priced.model, work) *
         priced.factor;
}

double Pricer::pass_s(const PassWork& work) const {
  if (work.count == 1) return one_pass_s(work);
  PassWork one = work;
  one.bytes /= work.count;
  return static_cast<double>(work.count) * one_pass_s(one);
}

double Pricer::one_pass_s(const PassWork& work) const {
  if (work.kind == PassKind::kQuantise && rates_.quantise) {
    const QuantiseModel& model = *rates_.quantise;
    return device_.launch_s + base_s(model, device_.memory_bytes_per_s, work.rows, work.cols) *
                                  correction_of(model, work.rows, work.cols);
  }
  const auto curve = rates_.passes.find(work.kind);
  if (curve != rates_.passes.end()) {
    return device_.launch_s + interpolate(curve->second, static_cast<double>(work.elements()));
  }
  return device_.launch_s + device_.pass_floor_s +
         static_cast<double>(work.bytes) /
             (device_.pass_bandwidth_share * device_.memory_bytes_per_s);
}

double Pricer::compute_s(const Work& work) const { return std::visit(ComputePricer{*this}, work); }

std::optional<Error> check_supports(const ClusterSpec& cluster, DataType type) {
  for (const auto& [name, device] : cluster.devices) {
    if (device.peak_flops_per_s.count(type) > 0) continue;
    std::string known;
    for (const auto& [other, peak] : device.peak_flops_per_s) {
      known += (known.empty() ? "" : ", ") + std::string(name_of(other));
    }
    return Error{cluster.source, "devices." + name + ".peak_flops_per_s",
                 std::string("no ") + name_of(type), "a data type among " + known};
  }
  return std::nullopt;
}

}  // namespace shardwright
