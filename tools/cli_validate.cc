#include <iostream>

#include "tools/cli.h"
#include "tools/validate_command.h"

namespace shardwright {

void add_validate(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("validate", "Predictions beside published training runs");
  const auto a = std::make_shared<ValidateArguments>();
  sub->add_option("paths", a->paths, "Files of records (one JSON object a line), or folders")
      ->required();
  sub->add_flag("--json", a->json, "Print JSON");
  sub->add_flag("--markdown", a->markdown, "Print the tables of costmodel/ACCURACY.md");
  sub->add_option("--stack", a->stack, "A stack file, or a shipped stack, for every run");
  sub->add_option("--explain", a->explain, "Take the memory of the row with this id apart");
  sub->footer("Example:\n  shardwright validate ../shared/measured_runs");
  sub->callback([=] { *action = [=] { return run_validate(*a, std::cout, std::cerr); }; });
}

}  // namespace shardwright
