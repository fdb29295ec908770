// Does the planner choose well on this machine? Runs every plan of a small space for two small
// models at two ranks, interleaved and repeated, and prints predicted beside measured.
//   choice [--machine machine.json] [--rounds N] [--steps N] [--only MODEL] [--json]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "costmodel/hf_config.h"
#include "planner/search.h"
#include "tests/bench/choice_report.h"

namespace shardwright {
namespace {

constexpr int kRanks = 2;

struct Arguments {
  std::string machine = default_machine_path();
  std::string only;  // model; empty: both
  ChoiceSettings settings;
  int64_t seq = 128, global_batch = 32;
  bool json = false;
};

int refuse(const Error& error) {
  std::cerr << error.line() << "\n";
  return 2;
}

// All plans that are legal and fit, none left out because another is faster.
Result<std::vector<Plan>> all_plans(const ModelSpec& model, const ClusterSpec& cluster,
                                    const Arguments& arguments) {
  SearchRequest request;
  request.seq = arguments.seq;
  request.global_batch = arguments.global_batch;
  request.ranks = kRanks;
  request.top = 1 << 20;
  const Result<SearchResult> found = search(model, cluster, request);
  if (!found) return found.error();
  if (found->plans.empty()) return Error{model.name, "", "no plan that fits", "some"};
  std::vector<Plan> plans;
  for (const RankedPlan& ranked : found->plans) plans.push_back(ranked.plan);
  return plans;
}

void show_progress(int round, size_t disturbed) {
  if (!isatty(STDERR_FILENO)) return;
  std::cerr << "\rround " << round + 1 << ", " << disturbed << " runs to be repeated   "
            << std::flush;
}

std::optional<Error> run_model(const std::string& name, const ClusterSpec& cluster,
                               const Arguments& arguments) {
  const Result<ModelSpec> model = load_model(name, default_profiles_dir());
  if (!model) return model.error();
  const Result<std::vector<Plan>> plans = all_plans(*model, cluster, arguments);
  if (!plans) return plans.error();
  const auto outcomes = run_plans(*model, cluster, *plans, arguments.settings, show_progress);
  const ChoiceSummary summary = summarise(outcomes, arguments.settings);
  if (!arguments.json) {
    std::cout << choice_table(name, outcomes, summary) << std::endl;
    return std::nullopt;
  }
  for (Json line : choice_lines(name, outcomes, summary)) {
    line["machine"] = cluster.name;
    line["rounds"] = arguments.settings.rounds;
    line["steps"] = arguments.settings.steps;
    std::cout << line.dump() << std::endl;
  }
  return std::nullopt;
}

int run(const Arguments& arguments) {
  const Result<ClusterSpec> cluster = load_cluster(arguments.machine, default_profiles_dir());
  if (!cluster) return refuse(cluster.error());
  if (cluster->num_devices() < kRanks) {
    return refuse({arguments.machine, "groups", std::to_string(cluster->num_devices()),
                   "at least two devices"});
  }
  for (const std::string& name : {std::string("tiny-gpt"), std::string("tiny-llama")}) {
    if (!arguments.only.empty() && arguments.only != name) continue;
    if (const auto error = run_model(name, *cluster, arguments)) return refuse(*error);
  }
  return 0;
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) {
  shardwright::Arguments arguments;
  CLI::App app("Predicted beside measured, for every plan of a small space", "choice");
  app.add_option("--machine", arguments.machine, "This machine, from `shardwright profile`")
      ->capture_default_str();
  app.add_option("--rounds", arguments.settings.rounds, "Runs of every plan")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--steps", arguments.settings.steps, "Recorded steps of a run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seq", arguments.seq, "Tokens of a sequence")->capture_default_str();
  app.add_option("--global-batch", arguments.global_batch, "Sequences of a step")
      ->capture_default_str();
  app.add_option("--only", arguments.only, "One of the models")
      ->check(CLI::IsMember({"tiny-gpt", "tiny-llama"}));
  app.add_flag("--json", arguments.json, "Print JSON lines");
  CLI11_PARSE(app, argc, argv);
  return shardwright::run(arguments);
}
