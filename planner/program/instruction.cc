#include "planner/program/instruction.h"

#include <algorithm>
#include <array>

namespace shardwright {

const char* name_of(OpCode op) {
  static constexpr std::array<const char*, static_cast<size_t>(OpCode::kCount)> kNames = {
      "load",
      "forward",
      "backward",
      "backward_input",
      "backward_weight",
      "send_activation",
      "receive_activation",
      "send_gradient",
      "receive_gradient",
      "gather_parameters",
      "scatter_gradients",
      "reduce_gradients",
      "reduce_tied",
      "clip",
      "optimizer_step"};
  return kNames.at(static_cast<size_t>(op));
}

const char* name_of(Lane lane) {
  static constexpr std::array<const char*, static_cast<size_t>(Lane::kCount)> kNames = {
      "compute", "activation_out", "activation_in", "gradient_out", "gradient_in", "data"};
  return kNames.at(static_cast<size_t>(lane));
}

std::string label_of(const Instruction& instruction) {
  std::string label = name_of(instruction.op);
  if (instruction.chunk >= 0) label += " c" + std::to_string(instruction.chunk);
  if (instruction.microbatch >= 0) label += " m" + std::to_string(instruction.microbatch);
  return label;
}

bool GroupInfo::has(int rank) const {
  if (rank < first) return false;
  int from = rank - first, count = size;
  if (run > 0) {
    if (from / jump >= size / run) return false;
    from %= jump;
    count = run;
  }
  return from % stride == 0 && from / stride < count;
}

std::vector<int> GroupInfo::members() const {
  const GroupPlacement placement{first, stride, size, run, jump};
  std::vector<int> ranks(size);
  for (int i = 0; i < size; ++i) ranks[i] = static_cast<int>(placement.member(i));
  return ranks;
}

ChunkShape ChunkInfo::shape() const {
  ChunkShape shape;
  shape.first_layer = first_layer;
  shape.num_layers = num_layers;
  shape.embedding = embedding;
  shape.head = head;
  shape.tp = tp;
  shape.micro_batch = micro_batch;
  shape.seq = seq;
  shape.split = split;
  shape.mtp_layers = mtp_layers;
  shape.recompute = recompute;
  shape.recompute_layers = recompute_layers;
  shape.recompute_modules = recompute_modules;
  shape.type = type;
  return shape;
}

int64_t Program::microbatches_before(int replica) const {
  int64_t sum = 0;
  if (replica_microbatches.empty()) return int64_t{replica} * microbatches;
  for (int i = 0; i < replica; ++i) sum += replica_microbatches[i];
  return sum;
}

int Program::position_of(int rank) const {
  const auto found =
      std::lower_bound(ranks.begin(), ranks.end(), rank,
                       [](const RankProgram& r, int value) { return r.rank < value; });
  return found != ranks.end() && found->rank == rank ? static_cast<int>(found - ranks.begin()) : -1;
}

}  // namespace shardwright
