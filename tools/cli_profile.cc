#include <iostream>

#include "tools/cli.h"
#include "tools/compare_command.h"
#include "tools/gpu_profile_command.h"
#include "tools/profile_command.h"

namespace shardwright {

void add_profile(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("profile", "Measure this machine");
  const auto options = std::make_shared<ProfileOptions>();
  const auto path = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  const auto device = std::make_shared<std::string>("cpu");
  sub->add_option("-o,--output", *path,
                  "Where the machine goes; default: where `plan` looks for it");
  sub->add_option("--device", *device, "What to measure: the cores of this machine or its GPUs")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  sub->add_option("--max-seconds", options->max_seconds, "Longest time to measure")
      ->capture_default_str();
  sub->add_flag("--quick", options->quick,
                "Few points in a few seconds: for tests, not for planning");
  sub->add_flag("--json", *json, "Print the summary as JSON");
  sub->footer("Example:\n  shardwright profile -o machine.json");
  sub->callback([=] {
    *action = [=] {
      const auto run = *device == "cuda" ? run_gpu_profile : run_profile;
      return run(*options, *path, *json, std::cout, std::cerr);
    };
  });
}

void add_compare(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("compare", "Predicted beside measured, worst offenders first");
  const auto folder = std::make_shared<std::string>();
  const auto trace = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  sub->add_option("run", *folder, "Run folder")->required();
  sub->add_option("--trace", *trace,
                  "Where the trace of both goes; default: trace.json in the folder");
  sub->add_flag("--json", *json, "Print JSON");
  sub->footer("Example:\n  shardwright compare runs/first");
  sub->callback(
      [=] { *action = [=] { return run_compare(*folder, *json, *trace, std::cout, std::cerr); }; });
}

}  // namespace shardwright
