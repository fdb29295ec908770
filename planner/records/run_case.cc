#include "planner/records/run_case.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

// A truth value of the record, else the stack's default.
bool choose(const Record& record, const RuleList& stacks, const std::string& fact,
            const char* fallback) {
  if (record.is(fact)) return true;
  if (record.is_not(fact)) return false;
  return stacks.number(record, fallback).value_or(0) > 0;
}

// A truth value that only rules decide.
std::optional<bool> stack_switch(const Record& record, const RuleList& stacks, const char* key) {
  const std::optional<double> value = stacks.number(record, key);
  return value ? std::optional<bool>(*value > 0) : std::nullopt;
}

MemoryFigure figure_of(const std::string& name) {
  if (name == "allocated") return MemoryFigure::kAllocated;
  return name == "reserved" ? MemoryFigure::kReserved : MemoryFigure::kDevice;
}

// The rules of memory go first.
std::string memory_text(const RecordTables& tables, const Record& record, const char* key) {
  const std::string own = tables.memory.text(record, key);
  return own.empty() ? tables.stacks.text(record, key) : own;
}

void add_marks(const RecordTables& tables, RunCase* run) {
  for (const RuleList::Rule* rule : tables.marks.all(*run->record)) {
    const std::string mark = RuleList::text_of(*rule, "mark");
    std::string* text = mark == "no_time"     ? &run->no_time
                        : mark == "no_memory" ? &run->no_memory
                                              : &run->weak;
    if (text->empty()) *text = RuleList::reason_of(*rule);
  }
}

void add_groups(const RecordTables& tables, RunCase* run) {
  for (const RuleList::Rule* rule : tables.groups.all(*run->record)) {
    const std::string name = RuleList::text_of(*rule, "group");
    if (name.empty()) continue;
    if (std::find(run->groups.begin(), run->groups.end(), name) == run->groups.end()) {
      run->groups.push_back(name);
    }
  }
  run->origin = tables.groups.text(*run->record, "origin");
}

void add_figures(const RecordTables& tables, RunCase* run) {
  const Record& record = *run->record;
  run->measured_oom = record.measured.oom;
  if (run->no_memory.empty()) run->measured_mem_gib = record.measured.mem_gb;
  run->figure = figure_of(memory_text(tables, record, "memory_figure"));
  if (!run->no_time.empty() || run->measured_oom) return;
  run->measured_s = measured_seconds(record, tables.conversions, run->model, run->plan,
                                     run->cluster.devices.begin()->second);
}

}  // namespace

Result<RecordTables> RecordTables::load(const std::string& profiles_dir) {
  const std::string folder = profiles_dir + "/records/";
  RecordTables tables;
  struct Table {
    const char* file;
    RuleList* list;
    std::vector<const char*> keys;
    const char* last_key = "";
  };
  const std::vector<Table> wanted = {
      {"conversions.json", &tables.conversions, {"formula", "peak_tflops"}},
      {"stacks.json",
       &tables.stacks,
       {"stack", "memory", "memory_figure", "zero", "sequence_parallel", "flash", "fused_loss",
        "overlap", "precision", "cp_kind", "expert_tp_1", "stand_in", "flash_2", "node_dispatch",
        "zero_is"},
       "memory"},
      {"memory.json", &tables.memory, {"memory", "memory_figure"}},
      {"devices.json",
       &tables.devices,
       {"profile", "memory_gib", "memory_gb_per_s", "node_gb_per_s", "network_gb_per_s"}},
      {"models.json",
       &tables.models,
       {"q_lora", "kv_lora", "qk_nope", "qk_rope", "v", "head_dim", "heads", "kv_heads", "vocab",
        "window", "qk_norm", "sinks", "route_groups", "neighbours", "shared_ffn_hidden"}},
      {"marks.json", &tables.marks, {"mark"}},
      {"groups.json", &tables.groups, {"group", "origin"}}};
  for (const Table& table : wanted) {
    Result<RuleList> list = RuleList::load(folder + table.file, table.keys, table.last_key);
    if (!list) return list.error();
    *table.list = *std::move(list);
  }
  return tables;
}

Result<RunCase> run_case(const Record& record, const RecordTables& tables,
                         const std::string& profiles_dir) {
  RunCase run;
  run.id = record.id;
  run.source = record.source;
  run.record = &record;
  Result<ModelSpec> model = model_of(record, tables.models);
  if (!model) return model.error();
  run.model = *std::move(model);
  Result<Plan> plan = plan_of(record, run.model, tables.stacks);
  if (!plan) return plan.error();
  run.plan = *std::move(plan);
  Result<ClusterSpec> cluster =
      cluster_of(record, tables.devices, profiles_dir, &run.device, &run.capacity_gib);
  if (!cluster) return cluster.error();
  run.cluster = *std::move(cluster);
  run.stack = tables.stacks.text(record, "stack");
  run.known_stack = tables.stacks.number(record, "stand_in").value_or(0) == 0;
  run.memory_stack = memory_text(tables, record, "memory");
  if (run.stack.empty() || run.memory_stack.empty()) {
    return Error{record.id, "framework", '"' + printable(record.framework) + '"',
                 "a framework of profiles/records/stacks.json"};
  }
  const Result<MemoryStack> memory = load_memory_stack(run.memory_stack, profiles_dir);
  if (!memory) return memory.error();
  run.plan.gradient_type = reduced_type(*memory, run.plan.precision);
  run.kernels.flash = choose(record, tables.stacks, "features.flash_attention", "flash");
  run.flash_2 = stack_switch(record, tables.stacks, "flash_2");
  run.node_dispatch = stack_switch(record, tables.stacks, "node_dispatch");
  run.kernels.norm_kernel = record.is("features.rmsnorm_kernel");
  run.kernels.fused_loss =
      choose(record, tables.stacks, "features.cross_entropy_fusion", "fused_loss") ||
      record.is("features.torch_compile");
  add_marks(tables, &run);
  add_groups(tables, &run);
  add_figures(tables, &run);
  return run;
}

}  // namespace shardwright
