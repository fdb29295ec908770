#include <map>
#include <tuple>

#include "costmodel/check.h"
#include "costmodel/pricer.h"
#include "planner/simulate.h"

namespace shardwright {
namespace {

class ProgramPricer {
 public:
  ProgramPricer(const Program& program, const StepTable& table, const ClusterSpec& cluster)
      : program_(program), table_(table), cluster_(cluster) {}

  ProgramCosts run() {
    ProgramCosts costs;
    for (const RankProgram& rank : program_.ranks) {
      const int64_t per_node = cluster_.devices_per_node_of(rank.rank);
      const Pricer pricer(cluster_, rank.rank, std::min<int64_t>(per_node, program_.world));
      cache_.clear();
      costs.instruction.emplace_back();
      costs.steps.emplace_back();
      for (const Instruction& next : rank.instructions) {
        const std::vector<Nanoseconds>& steps = priced(rank, pricer, next);
        Nanoseconds sum = 0;
        for (Nanoseconds step : steps) sum += step;
        costs.instruction.back().push_back(sum);
        costs.steps.back().push_back(steps);
      }
    }
    return costs;
  }

 private:
  // Microbatches of a chunk cost the same: priced once per rank, kind of instruction and peer.
  const std::vector<Nanoseconds>& priced(const RankProgram& rank, const Pricer& pricer,
                                         const Instruction& next) {
    auto [slot, fresh] = cache_.try_emplace({next.op, next.chunk, next.peer});
    if (fresh) {
      for (const Step& step : table_.steps(next)) {
        slot->second.push_back(to_nanoseconds(seconds_of(rank, pricer, next, step)));
      }
    }
    return slot->second;
  }

  double seconds_of(const RankProgram& rank, const Pricer& pricer, const Instruction& next,
                    const Step& step) const {
    const auto* work = std::get_if<CollectiveWork>(&step.work);
    if (work == nullptr) return pricer.compute_s(step.work);
    if (next.is_message()) return message_s(rank, next, *work);
    return collective_s(cluster_, *work, placement(rank, next, *work));
  }

  // The ranks of a collective. Those of a stage are tp fastest, then the replicas (cp, then dp);
  // for experts the same ranks are etp fastest, then ep, then the replicas of each expert.
  GroupPlacement placement(const RankProgram& rank, const Instruction& next,
                           const CollectiveWork& work) const {
    if (work.axis == Axis::kWorld || work.axis == Axis::kTied) {
      const GroupInfo& group = program_.groups.at(next.group);
      return {group.first, group.stride, group.size, group.run, group.jump};
    }
    const ChunkInfo& chunk = program_.chunks.at(next.chunk);
    const int64_t replicas = int64_t{program_.replicas} * program_.cp, tp = chunk.tp;
    const int64_t etp = chunk.split.expert_tp(tp), holders = etp * chunk.split.ep;
    const RankNumbering numbering = RankNumbering::of(
        program_.rank_order, tp * program_.cp, program_.replicas, program_.world / (tp * replicas));
    const int64_t place = numbering.place_of(rank.rank);
    // Of `size` members `stride` apart, the one group that this rank belongs to.
    const auto around = [&](int64_t stride, int64_t size) {
      const int64_t block = stride * size;
      return numbering.group(rank.stage, place / block * block + place % stride, stride, size);
    };
    switch (work.axis) {
      case Axis::kTp:
        return around(1, tp);
      case Axis::kExpertTp:
        return around(1, etp);
      case Axis::kCp:
        return around(tp, chunk.split.cp);
      case Axis::kEp:
        return around(etp, chunk.split.ep);
      case Axis::kExpertDp:
        return over_shards(work, holders, std::max<int64_t>(1, tp * replicas / holders),
                           program_.state.expert_shards, around);
      default:
        return over_shards(work, tp, replicas, program_.state.shards, around);
    }
  }

  // Sharded states: gathers and scatters are among the shards of one copy, sums among the copies.
  template <typename Around>
  static GroupPlacement over_shards(const CollectiveWork& work, int64_t stride, int64_t replicas,
                                    int64_t shards, const Around& around) {
    if (work.kind == CollectiveKind::kAllReduce) return around(stride * shards, replicas / shards);
    return around(stride, shards);
  }

  double message_s(const RankProgram& rank, const Instruction& next,
                   const CollectiveWork& work) const {
    if (cluster_.device_of(rank.rank).overlaps_communication && next.is_receive()) return 0;
    const int64_t low = std::min(rank.rank, next.peer), high = std::max(rank.rank, next.peer);
    return collective_s(cluster_, work, {low, high - low, 2});
  }

  const Program& program_;
  const StepTable& table_;
  const ClusterSpec& cluster_;
  std::map<std::tuple<OpCode, int, int>, std::vector<Nanoseconds>> cache_;
};

}  // namespace

ProgramCosts price(const Program& program, const StepTable& table, const ClusterSpec& cluster) {
  SW_CHECK_LE(program.world, cluster.num_devices(), "ranks and devices of the cluster");
  return ProgramPricer(program, table, cluster).run();
}

}  // namespace shardwright
