#include "costmodel/pricer.h"

#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

double peak_of(const DeviceProfile& device, DataType type) {
  const auto found = device.peak_flops_per_s.find(type);
  SW_CHECK(found != device.peak_flops_per_s.end(),
           device.name << " has no peak for " << name_of(type));
  return found->second;
}

// The model of a type, or the default shares where the profile states only the peak.
template <typename Models>
const typename Models::mapped_type::value_type& model_of(const Models& models, DataType type,
                                                         size_t which) {
  static const typename Models::mapped_type::value_type kDefault;
  const auto found = models.find(type);
  return found == models.end() ? kDefault : found->second.at(which);
}

template <typename Model>
double roofline_s(const Model& model, const DeviceProfile& device, DataType type, double flops,
                  Bytes bytes) {
  return model.floor_s + flops / (model.flop_share * peak_of(device, type)) +
         static_cast<double>(bytes) / (model.bandwidth_share * device.memory_bytes_per_s);
}

double correction_of(const LogTable& table, int64_t a, int64_t b, int64_t c) {
  if (table.empty()) return 1;
  const double coordinates[] = {static_cast<double>(a), static_cast<double>(b),
                                static_cast<double>(c)};
  return std::exp(table.at(coordinates));
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

Pricer::Pricer(const ClusterSpec& cluster, int64_t rank, int64_t active_ranks)
    : device_(cluster.device_of(rank)), rates_(device_.rates_for(active_ranks)) {}

// `count` equal products are one grouped kernel: one floor, the correction of a single product.
double Pricer::gemm_s(const GemmWork& work) const {
  const GemmModel& model = model_of(rates_.gemm, work.type, static_cast<size_t>(work.layout));
  return device_.launch_s + roofline_s(model, device_, work.type, work.flops(), work.bytes()) *
                                correction_of(model.correction, work.m, work.n, work.k);
}

double Pricer::attention_s(const AttentionWork& work) const {
  const AttentionModel& model = model_of(rates_.attention, work.type, work.backward ? 1 : 0);
  return device_.launch_s +
         roofline_s(model, device_, work.type, work.flops(), work.bytes()) *
             correction_of(model.correction, work.seq, work.batch * work.heads, work.head_dim);
}

double Pricer::pass_s(const PassWork& work) const {
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
