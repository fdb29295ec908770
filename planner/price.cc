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
    if (work->axis == Axis::kTp) {
      const int64_t tp = program_.chunks.at(next.chunk).tp;
      return collective_s(cluster_, *work, {rank.rank - rank.tp, 1, tp});
    }
    const GroupInfo& group = program_.groups.at(next.group);
    return collective_s(cluster_, *work, {group.first, group.stride, group.size});
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
