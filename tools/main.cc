// The shardwright command: reads the command line, calls one subcommand, turns failures into one
// line and an exit code.
#include <iostream>

#include "costmodel/check.h"
#include "executor/exec_error.h"
#include "tools/cli.h"
#include "tools/colours.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

constexpr const char* kAbout =
    "shardwright: how should this model be split over these devices?\n"
    "It profiles, plans, runs and compares what it predicted with what it measured.\n\n"
    "Exit codes: 0 done, 2 bad input, 3 nothing fits, 4 a run failed, 70 our mistake.";

int run(int argc, char** argv) {
  CLI::App app(kAbout, "shardwright");
  app.require_subcommand(1);
  app.set_version_flag("--version", SHARDWRIGHT_VERSION);
  Action action;
  add_models(app, &action);
  add_clusters(app, &action);
  add_profile(app, &action);
  add_plan(app, &action);
  add_explain(app, &action);
  add_simulate(app, &action);
  add_run(app, {argv, argv + argc}, &action);
  add_compare(app, &action);
  add_export(app, &action);
  add_lint(app, &action);
  add_calibrate(app, &action);
  add_validate(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::cerr << "command line: " << error.what() << " (see --help)\n";
    return kExitBadInput;
  }
  use_colours(terminal_has_colours());
  return action();
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) {
  try {
    return shardwright::run(argc, argv);
  } catch (const shardwright::ExecError& error) {
    std::cerr << error.what() << "\n";
    return shardwright::kExitRunFailed;
  } catch (const shardwright::BrokenInvariant& error) {
    std::cerr << "a mistake in shardwright, please report it: " << error.what() << "\n";
    return shardwright::kExitOurMistake;
  } catch (const std::exception& error) {
    std::cerr << "out of means: " << error.what() << "\n";
    return shardwright::kExitRunFailed;
  }
}
