// Subcommands: each adds its options to the command line and tells what to do when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace shardwright {

// Set by the subcommand that was given; returns the exit code.
using Action = std::function<int()>;

void add_models(CLI::App& app, Action* action);
void add_clusters(CLI::App& app, Action* action);
void add_profile(CLI::App& app, Action* action);
void add_plan(CLI::App& app, Action* action);
void add_explain(CLI::App& app, Action* action);
void add_simulate(CLI::App& app, Action* action);
void add_run(CLI::App& app, const std::vector<std::string>& command_line, Action* action);
void add_compare(CLI::App& app, Action* action);
void add_export(CLI::App& app, Action* action);
void add_lint(CLI::App& app, Action* action);
void add_calibrate(CLI::App& app, Action* action);
void add_validate(CLI::App& app, Action* action);

}  // namespace shardwright
