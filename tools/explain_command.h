// `shardwright explain`: where a plan's time and memory go, what other plans lose, why not another,
// and what other hardware would change.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

namespace shardwright {

struct ExplainArguments {
  std::string plan;                // plan.json
  std::string why_not;             // "tp=4,pp=2"; empty: not asked
  int top = 5;                     // plans of the search to compare with
  std::optional<double> headroom;  // instead of the plan's
  std::string framework;           // as PlanArguments has it, instead of the plan's
  bool sensitivity = false, break_even = false;
  bool json = false;
};

// Exit codes: 0; 2 with one line on `err` for bad input. Plans of this project's own executor have
// their time and memory explained; the rest needs a plan of a stack.
int run_explain(const ExplainArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
