#include <iostream>

#include "tools/cli.h"
#include "tools/validate_command.h"
#include "tools/validate_ops.h"

namespace shardwright {

void add_validate(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("validate", "Predictions beside published measurements");
  const auto runs = std::make_shared<ValidateArguments>();
  const auto ops = std::make_shared<ValidateOpsOptions>();
  const auto operators = std::make_shared<bool>(false);
  sub->add_option("paths", runs->paths,
                  "Files of records (one JSON object a line), or folders; with --ops CSV files, or "
                  "folders with gemm/, attention/ and collectives/")
      ->required();
  sub->add_flag("--json", runs->json, "Print JSON");
  sub->add_flag("--markdown", runs->markdown, "Print the tables of costmodel/ACCURACY.md");
  sub->add_option("--stack", runs->time.stack, "A stack file, or a shipped stack, for every run");
  sub->add_option("--calibrate-with", runs->time.calibrate_with,
                  "A file of records whose step times move the shipped factors first");
  sub->add_flag("--ops", *operators, "Operators: products, attention, collectives");
  sub->add_flag("--cross", runs->cross,
                "Predict every run by a fit that has seen nothing of its source; with --ops on "
                "shapes that were left out of the fit");
  sub->add_option("--runs-given", runs->runs_given,
                  "With --cross: errors and intervals after so many runs of the left-out source "
                  "were given, such as 0,1,2,3,5,8")
      ->delimiter(',')
      ->check(CLI::Range(0, 64));
  sub->add_flag("--ablations", runs->ablations,
                "Errors by group when one term of the time model is left out, without and with a "
                "refit of the others")
      ->excludes("--cross")
      ->excludes("--json")
      ->excludes("--ops");
  sub->add_option("--explain", runs->time.take_apart,
                  "Take the row with this id apart: memory, time, and the factors that move it")
      ->check([](const std::string& id) { return id.empty() ? "needs an id" : std::string(); })
      ->excludes("--json")
      ->excludes("--markdown")
      ->excludes("--ops")
      ->excludes("--cross")
      ->excludes("--ablations");
  sub->add_flag("--quick", ops->quick, "With --ops --cross: of a quick profile's fit");
  sub->footer(
      "Examples:\n"
      "  shardwright validate ../shared/measured_runs\n"
      "  shardwright validate --ops --cross ../shared/measured_ops");
  sub->callback([=] {
    if (!runs->runs_given.empty() && (!runs->cross || *operators)) {
      throw CLI::ValidationError("--runs-given", "needs --cross, without --ops");
    }
    ops->paths = runs->paths;
    ops->json = runs->json;
    ops->cross = runs->cross;
    *action = [=] {
      return *operators ? run_validate_ops(*ops, std::cout, std::cerr)
                        : run_validate(*runs, std::cout, std::cerr);
    };
  });
}

}  // namespace shardwright
