#include <iostream>

#include "tools/calibrate_command.h"
#include "tools/calibrate_runs_command.h"
#include "tools/cli.h"

namespace shardwright {
namespace {

void add_ops_options(CLI::App* sub, CalibrateOpsOptions* options) {
  sub->add_option("--ops", options->ops,
                  "Folder with gemm/, attention/ and collectives/ of DEVICE.TYPE.csv, or one file");
  sub->add_option("--device", options->device, "With --ops: the device whose timings to use");
  sub->add_option(
      "--base", options->base,
      "With --ops: profile with the device's peaks, memory and links; default: shipped");
  sub->add_option("--large-from", options->large_from,
                  "With --ops: shipped device whose table prices products of over 2^38 FLOPs");
  sub->add_flag("--quick", options->quick,
                "With --ops: from 80 products a type and 6 of attention instead of all timings");
  sub->add_flag("!--no-collectives", options->collectives,
                "With --ops: leave the link's curves, as the timings describe one server");
}

}  // namespace

void add_calibrate(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("calibrate", "Fit the cost model to measurements");
  const auto ops = std::make_shared<CalibrateOpsOptions>();
  const auto runs = std::make_shared<CalibrateRunsArguments>();
  add_ops_options(sub, ops.get());
  sub->add_option("--runs", runs->runs,
                  "Runs whose step time is known: files of records or folders")
      ->excludes("--ops");
  sub->add_flag("--refit", runs->refit,
                "With --runs: fit every factor of every device, interconnect and stack, and "
                "cross-validate");
  sub->add_option(
         "-o,--output", runs->output,
         "The device profile (--ops), the stack (--runs) or the folder of profiles (--refit)")
      ->required();
  sub->footer(
      "Examples:\n"
      "  shardwright calibrate --ops measured_ops --device h100-sxm-80gb -o h100.json\n"
      "  shardwright calibrate --runs my-runs.jsonl -o stack.json");
  sub->callback([=] {
    if (ops->ops.empty() == runs->runs.empty()) {
      throw CLI::ValidationError("calibrate", "give --ops FOLDER or --runs FILE");
    }
    if (!ops->ops.empty() && ops->device.empty()) throw CLI::RequiredError("--device");
    ops->output = runs->output;
    *action = [=] {
      return runs->runs.empty() ? run_calibrate_ops(*ops, std::cout, std::cerr)
                                : run_calibrate_runs(*runs, std::cout, std::cerr);
    };
  });
}

}  // namespace shardwright
