#include "planner/search/software.h"

#include <algorithm>
#include <limits>

#include "planner/export/idle_choices.h"
#include "planner/export/limits.h"
#include "planner/search/chunk_layers.h"
#include "planner/search/replica_shares.h"

namespace shardwright {
namespace {

void take_slower(const ChunkPrices& other, ChunkPrices* out) {
  if (other.forward + other.backward > out->forward + out->backward) out->spent = other.spent;
  out->forward = std::max(out->forward, other.forward);
  out->backward = std::max(out->backward, other.backward);
  out->backward_input = std::max(out->backward_input, other.backward_input);
  out->backward_weight = std::max(out->backward_weight, other.backward_weight);
}

void take_slower(const StagePrices& other, StagePrices* out) {
  out->reduction = std::max(out->reduction, other.reduction);
  out->gather = std::max(out->gather, other.gather);
  out->update = std::max(out->update, other.update);
}

}  // namespace

struct Software::ForTp {
  ForTp(ModelSpec padded, const ClusterSpec& cluster, const Stack& stack, const MemoryStack& memory,
        const std::vector<Kind>& kinds)
      : model(std::move(padded)), memory_model({model, memory, choice(stack.kernels)}) {
    for (const Kind& kind : kinds) {
      estimators.push_back(
          std::make_unique<Estimator>(model, cluster, stack.kernels, kind.factors, kind.rank));
    }
  }
  static KernelChoice choice(const Kernels& kernels) {
    return {.flash = kernels.flash_attention, .fused_loss = kernels.fused_loss};
  }
  ModelSpec model;
  std::vector<std::unique_ptr<Estimator>> estimators;  // by kind of device
  RankMemoryModel memory_model;
};

Software::Software(const ModelSpec& model, const ClusterSpec& cluster, Stack stack,
                   MemoryStack memory)
    : model_(model), cluster_(cluster), stack_(std::move(stack)), memory_(std::move(memory)) {
  find_kinds();
}
Software::~Software() = default;

void Software::find_kinds() {
  std::map<std::string, int> index;
  int64_t rank = 0;
  for (const NodeGroup& group : cluster_.groups) {
    const auto [entry, fresh] = index.try_emplace(group.device, static_cast<int>(kinds_.size()));
    if (fresh) {
      kinds_.push_back(
          {rank, cluster_.device_of(rank).memory_bytes, factors_for(stack_, cluster_, rank)});
    }
    kind_of_group_.push_back(entry->second);
    rank += group.devices_per_node * group.nodes;
  }
}

std::vector<int> Software::kinds_of(const Plan& plan, int64_t stage) const {
  const int64_t block = numbering_of(plan).together, apart = block * plan.pp;
  return kinds_in({stage * block, block, apart, plan.ranks() / apart});
}

std::vector<int> Software::kinds_of(const Plan& plan, int64_t stage, int64_t replica) const {
  const int64_t block = plan.tp * plan.split.cp;
  return kinds_in({rank_at(plan, {0, replica, stage}), block, block, 1});
}

std::vector<int> Software::kinds_in(const RankBlocks& ranks) const {
  const auto [first, block, apart, blocks] = ranks;
  std::vector<int> kinds;
  int64_t rank = 0;
  for (size_t i = 0; i < cluster_.groups.size(); ++i) {
    const int64_t next = rank + cluster_.groups[i].devices_per_node * cluster_.groups[i].nodes;
    const int kind = kind_of_group_[i];
    // The first block that ends behind `rank`.
    const int64_t i_first = std::max<int64_t>(0, (rank - first - block + apart) / apart);
    const bool there = i_first < blocks && first + i_first * apart < next;
    if (there && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      kinds.push_back(kind);
    }
    rank = next;
  }
  return kinds;
}

Result<std::unique_ptr<Software>> Software::load(const ModelSpec& model, const ClusterSpec& cluster,
                                                 const std::string& stack,
                                                 const std::string& profiles_dir) {
  Result<Stack> loaded = load_stack(stack, profiles_dir);
  if (!loaded) return loaded.error();
  const std::string name = loaded->memory.empty() ? "megatron-core" : loaded->memory;
  Result<MemoryStack> memory = load_memory_stack(name, profiles_dir);
  if (!memory) return memory.error();
  auto software = std::make_unique<Software>(model, cluster, *std::move(loaded), *memory);
  if (auto error = software->plan_for(software->stack().framework)) {
    error->file = stack;
    return *error;
  }
  return software;
}

std::optional<Error> Software::plan_for(const std::string& name) {
  Framework framework = Framework::kMegatron;
  if (parse_framework(name, &framework)) {
    framework_ = framework;
  } else if (name.empty() || name == "any") {
    framework_ = std::nullopt;
  } else {
    std::string names = "any";
    for (Framework one : all_frameworks()) names += std::string(", ") + name_of(one);
    return Error{"command line", "framework", printable(name), names};
  }
  return std::nullopt;
}

std::string Software::framework() const { return framework_ ? name_of(*framework_) : "any"; }

std::vector<Rejection> Software::refusals(const Plan& plan) const {
  std::vector<Rejection> out;
  if (!plan.replica_batches.empty()) {
    const std::string problem = unlike_batches_problem(plan);
    if (!problem.empty()) out.push_back({plan.zero == 3 ? "zero" : "replica_batches", problem});
  }
  if (!framework_) return out;
  // Overlap of gradients and weights is a choice of the search, as far as the framework does it;
  // where it always overlaps, export says so (as_run_by).
  const Overlap done = overlap_run_by(*framework_, plan);
  const auto require = [&](const char* name, bool wanted, bool is) {
    if (wanted == is) return;
    out.push_back(
        {name, std::string(name_of(*framework_)) + (is ? " always overlaps this in such a plan"
                                                       : " does not overlap this in such a plan")});
  };
  if (plan.dp * plan.split.cp > 1) {
    if (!done.gradients) require("overlap_gradients", plan.overlap.gradients, false);
    if (plan.zero > 0 && !done.parameters) {
      require("overlap_parameters", plan.overlap.parameters, false);
    }
  }
  if (plan.tp > 1) require("overlap_tensor", plan.overlap.tensor, done.tensor);
  if (plan.pp > 1) require("overlap_pipeline", plan.overlap.pipeline, done.pipeline);
  if (plan.split.ep > 1) require("overlap_experts", plan.overlap.experts, done.experts);
  for (Rejection& rejection : check_expressible(*framework_, model_, plan)) {
    const bool asked = rejection.rule == "model" || rejection.rule == "precision" ||
                       rejection.rule == "mtp_layers" || rejection.rule == "gradient_type" ||
                       (rejection.rule == "optimizer" && plan.optimizer_offload == 0);
    if (!asked) out.push_back(std::move(rejection));
  }
  return out;
}

Software::ForTp& Software::at(int64_t tp) {
  std::unique_ptr<ForTp>& entry = for_tp_[tp];
  if (entry == nullptr) {
    ModelSpec model = model_;
    model.vocab_multiple = stack_.kernels.padded_vocabulary ? kPaddedVocabMultiple : 1;
    entry = std::make_unique<ForTp>(std::move(model), cluster_, stack_, memory_, kinds_);
  }
  return *entry;
}

void Software::set_usual(Plan* plan) const { set_usual_overlap(stack_.kernels, plan); }

const PlanPrices& Software::prices(const Plan& plan) {
  if (kinds_.size() > 1) return mixed_prices(plan);
  return at(plan.tp).estimators.front()->prices(plan);
}

const PlanPrices& Software::mixed_prices(const Plan& plan) {
  mixed_ = {};
  mixed_.chunks.resize(plan.pp * plan.virtual_stages);
  mixed_.stages.resize(plan.pp);
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    const PlanPrices* prices = nullptr;
    for (int64_t stage = 0; stage < plan.pp; ++stage) {
      const std::vector<int> kinds = kinds_of(plan, stage);
      if (std::find(kinds.begin(), kinds.end(), static_cast<int>(kind)) == kinds.end()) continue;
      if (prices == nullptr) prices = &at(plan.tp).estimators[kind]->prices(plan);
      take_slower(prices->stages[stage], &mixed_.stages[stage]);
      for (int64_t k = 0; k < plan.virtual_stages; ++k) {
        const int64_t chunk = chunk_of_stage(plan, stage, k);
        take_slower(prices->chunks[chunk], &mixed_.chunks[chunk]);
      }
    }
    if (prices == nullptr) continue;
    mixed_.messages = prices->messages;
    mixed_.tied = std::max(mixed_.tied, prices->tied);
    mixed_.clip = std::max(mixed_.clip, prices->clip);
    mixed_.pace = std::max(mixed_.pace, prices->pace);
    mixed_.fixed = std::max(mixed_.fixed, prices->fixed);
  }
  if (!plan.replica_batches.empty()) mixed_.replicas = unlike_replicas(plan);
  return mixed_;
}

// Replicas whose stages lie on the same kinds of devices are alike but for their batch: the largest
// is done last.
std::vector<ReplicaPrices> Software::unlike_replicas(const Plan& plan) {
  std::vector<std::vector<ChunkPrices>> chunks;
  for (const auto& estimator : at(plan.tp).estimators) {
    chunks.push_back(estimator->prices(plan).chunks);
  }
  std::map<std::vector<std::vector<int>>, ReplicaPrices> found;
  for (int64_t replica = 0; replica < plan.dp; ++replica) {
    std::vector<std::vector<int>> kinds;
    for (int64_t stage = 0; stage < plan.pp; ++stage) {
      kinds.push_back(kinds_of(plan, stage, replica));
    }
    const int64_t microbatches = plan.microbatches_of(replica);
    const auto [entry, fresh] = found.try_emplace(kinds);
    ReplicaPrices& one = entry->second;
    if (!fresh && microbatches <= one.microbatches) continue;
    one.replica = replica;
    one.microbatches = microbatches;
    if (!fresh) continue;
    one.chunks.resize(plan.pp * plan.virtual_stages);
    for (int64_t chunk = 0; chunk < plan.pp * plan.virtual_stages; ++chunk) {
      for (int kind : kinds[stage_of_chunk(plan, chunk)]) {
        take_slower(chunks[kind][chunk], &one.chunks[chunk]);
      }
    }
  }
  std::vector<ReplicaPrices> out;
  for (auto& [kinds, prices] : found) out.push_back(std::move(prices));
  return out;
}

bool Software::share_batch(Plan* plan) {
  std::vector<double> whole;
  for (const auto& estimator : at(plan->tp).estimators) {
    whole.push_back(estimator->parts(*plan).whole);
  }
  std::vector<double> seconds;  // of a replica's slowest device
  for (int64_t replica = 0; replica < plan->dp; ++replica) {
    seconds.push_back(0);
    for (int64_t stage = 0; stage < plan->pp; ++stage) {
      for (int kind : kinds_of(*plan, stage, replica)) {
        seconds.back() = std::max(seconds.back(), whole[kind]);
      }
    }
  }
  const std::vector<int64_t> batches = replica_shares(*plan, seconds);
  if (batches.empty()) return false;
  plan->replica_batches = batches;
  return true;
}

const Estimator::PartSeconds& Software::parts(const Plan& plan) {
  const Estimator::PartSeconds* fastest = nullptr;
  for (const auto& estimator : at(plan.tp).estimators) {
    const Estimator::PartSeconds& parts = estimator->parts(plan);
    if (fastest == nullptr || parts.whole < fastest->whole) fastest = &parts;
  }
  return *fastest;
}

std::vector<int64_t> Software::share_layers(const Plan& plan, const LayerLimits& limits) {
  const int64_t chunks = plan.pp * plan.virtual_stages;
  if (!limits.take(chunks)) return {};
  if (const std::vector<int64_t>* pinned = limits.of(chunks)) return *pinned;
  ChunkBounds bounds{limits.least(), {}};
  if (limits.most()) bounds.most.assign(chunks, *limits.most());
  return chunk_layers(model_, parts(plan), chunks, plan.virtual_stages > 1, chunk_speeds(plan),
                      bounds);
}

// A stage that does not fit may have fewer layers only. When none is left like this the sharing is
// the fastest: it is so under conditions that every sharing that fits meets.
bool Software::fit_layers(const MemoryLimit& limit, Plan* plan, const LayerLimits& limits) {
  ChunkBounds bounds{limits.least(), {}};
  bounds.most.assign(plan->pp, limits.most().value_or(model_.layers()));
  while (true) {
    const std::vector<double> bytes = at(plan->tp).memory_model.device_bytes(*plan);
    int64_t full = 0;
    for (int64_t stage = 0; stage < plan->pp; ++stage) {
      if (bytes[stage] <= usable_bytes(*plan, stage, limit)) continue;
      bounds.most[stage] = plan->stage_layers[stage] - 1;
      ++full;
    }
    if (full == 0) return true;
    if (full == plan->pp) return false;  // all of them would have to have fewer
    plan->stage_layers =
        chunk_layers(model_, parts(*plan), plan->pp, false, chunk_speeds(*plan), bounds);
    if (plan->stage_layers.empty()) return false;
  }
}

double Software::slowest_chunk_s(const Plan& plan) {
  return slowest_chunk(model_, parts(plan), plan.stage_layers, chunk_speeds(plan));
}

// Times of the chunks' devices against those of the fastest kind; empty: there is one kind.
std::vector<double> Software::chunk_speeds(const Plan& plan) {
  if (kinds_.size() == 1) return {};
  const double fastest = parts(plan).whole;
  std::vector<double> speeds;
  for (int64_t chunk = 0; chunk < plan.pp * plan.virtual_stages; ++chunk) {
    double slowest = 0;
    for (int kind : kinds_of(plan, stage_of_chunk(plan, chunk))) {
      slowest = std::max(slowest, at(plan.tp).estimators[kind]->parts(plan).whole);
    }
    speeds.push_back(slowest / fastest);
  }
  return speeds;
}

double Software::device_bytes(const Plan& plan) {
  return at(plan.tp).memory_model.fullest_device_bytes(plan);
}

std::vector<StageMemory> Software::stages(const Plan& plan) {
  std::vector<StageMemory> out;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const RankMemory memory = at(plan.tp).memory_model.stage(plan, stage);
    StageMemory entry;
    for (int64_t v = 0; v < plan.virtual_stages; ++v) {
      entry.layers += plan.stage_layers[chunk_of_stage(plan, stage, v)];
    }
    double named = 0;
    for (const MemoryPart& part : memory.parts) {
      const std::string name = part.name;
      const auto bytes = static_cast<Bytes>(part.bytes);
      if (name == "weights") {
        entry.parameters = bytes;
      } else if (name == "gradients of weights") {
        entry.gradients = bytes;
      } else if (name == "optimizer") {
        entry.optimizer = bytes;
      } else if (name == "activations") {
        entry.activations = bytes;
      } else {
        continue;
      }
      named += static_cast<double>(bytes);
    }
    entry.scratch = static_cast<Bytes>(memory.device_bytes - named);
    entry.available = available_to(plan, stage);
    out.push_back(entry);
  }
  return out;
}

RankMemory Software::memory(const Plan& plan, int64_t stage) {
  return at(plan.tp).memory_model.stage(plan, stage);
}

double Software::usable_bytes(const MemoryLimit& limit) const {
  return static_cast<double>(limit.bytes > 0 ? limit.bytes : available()) * (1 - limit.headroom);
}

double Software::usable_bytes(const Plan& plan, int64_t stage, const MemoryLimit& limit) const {
  if (limit.bytes > 0) return usable_bytes(limit);
  return static_cast<double>(available_to(plan, stage)) * (1 - limit.headroom);
}

double Software::fullest_share(const Plan& plan, const MemoryLimit& limit) {
  // The fullest stage of like devices is known without asking about each.
  if (kinds_.size() == 1 || limit.bytes > 0) return device_bytes(plan) / usable_bytes(limit);
  const int64_t stage = fullest_stage(plan, limit);
  return at(plan.tp).memory_model.device_bytes(plan)[stage] / usable_bytes(plan, stage, limit);
}

double Software::emptiest_share(const Plan& plan, const MemoryLimit& limit) {
  const std::vector<double> bytes = at(plan.tp).memory_model.device_bytes(plan);
  double least = std::numeric_limits<double>::infinity();
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    least = std::min(least, bytes[stage] / usable_bytes(plan, stage, limit));
  }
  return least;
}

int64_t Software::fullest_stage(const Plan& plan, const MemoryLimit& limit) {
  const std::vector<double> bytes = at(plan.tp).memory_model.device_bytes(plan);
  int64_t fullest = 0;
  double most = 0;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const double share = bytes[stage] / usable_bytes(plan, stage, limit);
    if (share <= most) continue;
    most = share;
    fullest = stage;
  }
  return fullest;
}

Bytes Software::available() const {
  Bytes least = kinds_.front().memory;
  for (const Kind& kind : kinds_) least = std::min(least, kind.memory);
  return least;
}

Bytes Software::available_to(const Plan& plan, int64_t stage) const {
  if (kinds_.size() == 1) return kinds_.front().memory;
  Bytes least = std::numeric_limits<Bytes>::max();
  for (int kind : kinds_of(plan, stage)) least = std::min(least, kinds_[kind].memory);
  return least;
}

const ModelSpec& Software::model_for(int64_t tp) { return at(tp).model; }

}  // namespace shardwright
