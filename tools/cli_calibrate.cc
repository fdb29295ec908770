#include <iostream>

#include "tools/calibrate_runs_command.h"
#include "tools/cli.h"

namespace shardwright {

void add_calibrate(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("calibrate", "Fit the cost model to measurements");
  const auto a = std::make_shared<CalibrateRunsArguments>();
  sub->add_option("--runs", a->runs, "Runs whose step time is known: files of records or folders")
      ->required();
  sub->add_option("-o,--output", a->output,
                  "The stack to write; with --refit the folder of profiles")
      ->required();
  sub->add_flag("--refit", a->refit,
                "Fit every factor of every device, interconnect and stack, and cross-validate");
  sub->footer("Example:\n  shardwright calibrate --runs my-runs.jsonl -o stack.json");
  sub->callback([=] { *action = [=] { return run_calibrate_runs(*a, std::cout, std::cerr); }; });
}

}  // namespace shardwright
