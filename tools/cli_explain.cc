#include <iostream>

#include "tools/cli.h"
#include "tools/explain_command.h"

namespace shardwright {

void add_explain(CLI::App& app, Action* action) {
  CLI::App* sub =
      app.add_subcommand("explain", "Where a plan's time and memory go, and why it won");
  const auto a = std::make_shared<ExplainArguments>();
  sub->add_option("plan", a->plan, "plan.json")->required();
  sub->add_option("--why-not", a->why_not, "What rejects these choices, e.g. tp=4,pp=2");
  sub->add_option("--top", a->top, "Plans to compare with")->capture_default_str();
  sub->add_option("--for", a->framework,
                  "Whose options other plans are limited to; default: as the plan was made");
  sub->add_option("--headroom", a->headroom,
                  "Share of a device's memory left free; default: as the plan was made");
  sub->add_flag("--sensitivity", a->sensitivity,
                "Times with 10 % more and less memory, compute and bandwidth of each link");
  sub->add_flag("--break-even", a->break_even, "Bandwidths at which another plan becomes best");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->footer(
      "Example:\n"
      "  shardwright plan --model llama-3.1-8b --cluster h100-sxm-80gb:8 --precision bf16 \\\n"
      "    --seq 8192 --global-batch 64 -o plan.json\n"
      "  shardwright explain plan.json --why-not tp=4,pp=2 --sensitivity");
  sub->callback([=] { *action = [=] { return run_explain(*a, std::cout, std::cerr); }; });
}

}  // namespace shardwright
