// `shardwright plan`: the best plans for a model on a cluster.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace shardwright {

// Questions about a framework's stack beyond its fastest plan on all devices; empty: not asked
// or not given. Lists are separated by commas.
struct QuestionArguments {
  bool max_micro_batch = false, max_seq = false, min_devices = false;
  int64_t seq_multiple = 1024;      // tokens; of max_seq
  std::string compare_clusters;     // two or more, as for PlanArguments::cluster
  std::string objective;            // a name of planner/search/device_counts.h; empty: step
  std::string pareto;               // two names of planner/search/pareto.h
  double memory_step_gib = 1;       // between points of a front over memory
  std::string deadline;             // "1e12@30": tokens and days
  std::string usd_per_hour, watts;  // of a device; of several clusters one each or one for all
  std::optional<double> max_usd_per_mtoken, max_watts;
  std::optional<int64_t> max_devices;
};

struct PlanArguments {
  std::string model;         // config.json, a folder with one, or a shipped name
  std::string cluster;       // file, shorthand or shipped name; empty: this machine, as profiled
  int64_t seq = 0;           // tokens per sequence
  int64_t global_batch = 0;  // sequences per step
  std::string precision = "fp32";                   // or "bf16"
  std::string optimizer = "adamw";                  // or "sgd"
  int64_t ranks = 0;                                // devices to use; 0 = all of the cluster
  int top = 5;                                      // plans to show
  std::vector<std::string> pins, bans, mins, maxs;  // "tp=2"
  // Whose software: a stack of profiles/stacks or a file; "shardwright" is this project's own
  // executor; empty: that on CPUs; on GPUs usual_stack() of `framework`, Megatron's without one.
  std::string stack;
  // For stacks only:
  std::string framework;   // whose options plans are limited to; empty: the stack's; "any"
  double headroom = 0.02;  // share of a device's memory left free
  std::optional<double> memory_limit_gib;  // of a device, instead of what it has
  std::string out;                         // where the best plan is written; empty: nowhere
  bool json = false;
  QuestionArguments question;
};

constexpr const char* kOwnStack = "shardwright";

// Prints the plans, best first, as a table for people or as JSON. Exit codes: 0; 2 with one line on
// `err` for bad input; 3 when nothing fits, with what is short and what would fit on `err`.
int run_plan(const PlanArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
