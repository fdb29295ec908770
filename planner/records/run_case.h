// RunCase: a record made into what the cost model understands: model, plan, cluster, stack, and the
// measured figures in seconds and GiB. Everything that a record does not say comes from rules
// (rules.h) or from the defaults written in run_case.cc, never from the record's own identity.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "costmodel/kept_tensors.h"
#include "costmodel/model_spec.h"
#include "planner/plan.h"
#include "planner/records/rules.h"

namespace shardwright {

// The data under profiles/records, read once.
struct RecordTables {
  RuleList conversions;  // printed figures to seconds
  RuleList stacks;       // software
  RuleList memory;       // memory stacks and figures where stacks do not decide them
  RuleList devices;      // device profiles, memory sizes, networks
  RuleList models;       // shapes that records leave out
  RuleList marks;        // rows to report apart
  RuleList groups;       // the groups of reports
  static Result<RecordTables> load(const std::string& profiles_dir);
};

enum class MemoryFigure { kAllocated, kReserved, kDevice };

struct RunCase {
  std::string id, source;
  const Record* record = nullptr;  // outlives this
  ModelSpec model;
  Plan plan;
  ClusterSpec cluster;
  std::string device;        // the profile that stands for the record's device
  std::string stack;         // of the time model
  bool known_stack = true;   // false: a stand-in for a framework that no rule names
  std::string memory_stack;  // of the memory model
  KernelChoice kernels;
  // Kernels that its software had other than its stack has them.
  std::optional<bool> flash_2, node_dispatch;
  double capacity_gib = 0;  // memory of the device
  MemoryFigure figure = MemoryFigure::kDevice;
  std::optional<double> measured_s, measured_mem_gib;
  bool measured_oom = false;
  std::vector<std::string> groups;
  std::string origin;  // "NVIDIA": its source ran NVIDIA's own frameworks on its clusters
  // Why the row is not counted, or to be counted apart; empty = a full row.
  std::string no_time;    // no seconds can be had from it
  std::string no_memory;  // its memory contradicts its source
  std::string weak;       // underspecified: a choice that decides the time is not printed
};

// Fails when the record cannot be a run: sizes missing, an unknown device, an impossible layout.
Result<RunCase> run_case(const Record& record, const RecordTables& tables,
                         const std::string& profiles_dir);

// Parts of run_case, by file.
Result<ModelSpec> model_of(const Record& record, const RuleList& models);  // case_model.cc
Result<Plan> plan_of(const Record& record, const ModelSpec& model, const RuleList& stacks);
// case_plan.cc
// Layers of every chunk from a layout such as "Et|(tt|)*30L": E embedding, t layer, m
// multi-token-prediction layer, L loss, | a boundary, (...)*n and t*n repetitions. Empty when it is
// not such a text.
std::vector<int64_t> layers_of_layout(const std::string& text);
// Layers of `chunks` chunks where nothing is printed.
std::vector<int64_t> usual_layers(int64_t layers, int64_t chunks, bool mtp);
Result<ClusterSpec> cluster_of(const Record& record, const RuleList& devices,
                               const std::string& profiles_dir, std::string* device,
                               double* capacity_gib);  // case_cluster.cc

// FLOPs per token of a named convention: "full", "causal", "hfu", "palm", "old", "params8" or
// "causal_ungated"; nullopt for another name. Formulas in flops_formula.cc.
std::optional<double> flops_per_token(const std::string& formula, const ModelSpec& model,
                                      int64_t seq);
// Seconds per step: iteration_s, else tokens/s, else TFLOP/s, else MFU. nullopt when none is there
// or the figure has no conversion.
std::optional<double> measured_seconds(const Record& record, const RuleList& conversions,
                                       const ModelSpec& model, const Plan& plan,
                                       const DeviceProfile& device);

}  // namespace shardwright
