#include "tools/questions_table.h"

#include <cstdio>
#include <iomanip>
#include <sstream>

#include "tools/format.h"
#include "tools/plan_table.h"

namespace shardwright {
namespace {

constexpr size_t kColumns = 100;
constexpr const char* kStopped = "Stopped early: this is what was found until then.\n";

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[300];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

// Broken at spaces, further lines indented. Leading spaces stay.
std::string wrapped(const std::string& text, const std::string& indent = "") {
  std::istringstream words(text);
  std::string out, line(std::min(text.find_first_not_of(' '), text.size()), ' ');
  bool fresh = true;
  for (std::string word; words >> word; fresh = false) {
    if (!fresh && line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line = indent + word;
    } else {
      line += (fresh ? "" : " ") + word;
    }
  }
  return out + line + "\n";
}

std::string rate(double value) { return value > 0 ? format("%.4g", value) : "-"; }

// Degrees and microbatch; the whole label stands below the table.
std::string degrees_text(const Plan& plan) {
  std::string out = format("dp%lld tp%lld pp%lld", static_cast<long long>(plan.dp),
                           static_cast<long long>(plan.tp), static_cast<long long>(plan.pp));
  if (plan.split.cp > 1) out += " cp" + std::to_string(plan.split.cp);
  if (plan.split.ep > 1) out += " ep" + std::to_string(plan.split.ep);
  return out + " mb" + std::to_string(plan.micro_batch);
}

void print_head(const char* first, int width, std::ostream& out) {
  out << std::setw(width) << first << std::setw(11) << "step" << std::setw(11) << "tokens/s"
      << std::setw(9) << "a device" << std::setw(9) << "USD/Mtok" << std::setw(9) << "kWh/Mtok"
      << std::setw(12) << "memory"
      << "  plan\n";
}

void print_row(const std::string& first, int width, const RankedPlan& plan,
               const DeviceRates& rates, std::ostream& out) {
  const double devices = static_cast<double>(plan.plan.ranks());
  std::ostringstream row;
  row << std::setw(width) << first << std::setw(11) << seconds_text(plan.step_time_s)
      << std::setw(11) << rate_text(plan.tokens_per_s) << std::setw(9)
      << rate_text(plan.tokens_per_s / devices) << std::setw(9) << rate(usd_per_mtoken(rates, plan))
      << std::setw(9) << rate(kwh_per_mtoken(rates, plan)) << std::setw(12)
      << bytes_text(plan.memory_peak_bytes) << "  " << degrees_text(plan.plan);
  out << row.str().substr(0, kColumns) << "\n";
}

std::string rates_text(const KnownRates& known) {
  std::string out;
  if (known.rates.usd_per_hour > 0) {
    out += wrapped("USD: " + format("%g", known.rates.usd_per_hour) + " a device and hour.");
  }
  if (known.rates.watts > 0) {
    out += wrapped("kWh: " + format("%g", known.rates.watts) + " W a device all the time (" +
                   printable(known.watts_source, 90) + "), without hosts, network and cooling.");
  }
  return out;
}

std::string plan_line(const std::string& what, const RankedPlan& plan) {
  return wrapped(what + ": " + plan.plan.label() + "; layers per chunk " +
                     stages_text(plan.plan.stage_layers) + "; step " +
                     seconds_text(plan.step_time_s) + ", " + bytes_text(plan.memory_peak_bytes),
                 "  ");
}

std::string short_text(const Shortage& shortage) {
  const MemoryPart& most = shortage.largest_part();
  return format("lacks %.2f GiB on stage %lld in the %s, most of it %s",
                shortage.missing_bytes / (1 << 30), static_cast<long long>(shortage.memory.stage),
                shortage.memory.phase, most.name);
}

std::string limits_text(const QuestionRequest& question) {
  const DeviceLimits& limits = question.limits;
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : ", ") + text; };
  if (question.deadline) {
    add(format("%g tokens in %g days (%.0f tokens/s)", question.deadline->tokens,
               question.deadline->days, limits.min_tokens_per_s));
  }
  if (limits.max_devices > 0) add("at most " + std::to_string(limits.max_devices) + " devices");
  if (limits.max_watts > 0) add(format("at most %g W", limits.max_watts));
  if (limits.max_usd_per_mtoken > 0) {
    add(format("at most %g USD per million tokens", limits.max_usd_per_mtoken));
  }
  return out;
}

std::string objective_text(Objective objective) {
  switch (objective) {
    case Objective::kStep:
      return "the shortest step";
    case Objective::kTokensPerDevice:
      return "the most tokens a second of a device";
    case Objective::kCost:
      return "the least cost per token";
    case Objective::kEnergy:
      return "the least energy per token";
    case Objective::kDevices:
      return "the fewest devices";
  }
  return "?";
}

std::string proportional_text(Objective objective) {
  if (objective != Objective::kCost && objective != Objective::kEnergy) return "";
  return wrapped(
      "With one figure for every device this is in proportion to device-seconds per token: the "
      "same plan as for tokens-per-device.");
}

}  // namespace

std::string micro_batch_text(const LargestMicroBatch& answer) {
  std::string out = plan_line("Fastest plan", answer.best);
  const auto size = [](const RankedPlan& plan) { return std::to_string(plan.plan.micro_batch); };
  out += plan_line("With its other choices the largest microbatch is " + size(answer.same),
                   answer.same);
  if (answer.next) {
    out +=
        wrapped("  the next, " + size(answer.next->plan) + ", " + short_text(*answer.next), "  ");
  } else {
    out += wrapped("  no larger one is allowed: it has to divide the replica's " +
                       std::to_string(answer.same.plan.global_batch / answer.same.plan.dp) +
                       " sequences",
                   "  ");
  }
  out += plan_line("The largest of any plan is " + size(answer.largest), answer.largest);
  out += wrapped("Every divisor above was asked, in " + std::to_string(answer.searches) +
                 " searches: no larger microbatch fits.");
  return out + (answer.complete ? "" : kStopped);
}

std::string seq_text(const LongestSeq& answer, int64_t multiple) {
  std::string out = "Longest sequence: " + std::to_string(answer.seq) + " tokens (multiples of " +
                    std::to_string(multiple) + "), batch " +
                    std::to_string(answer.plan.plan.global_batch) + " sequences\n";
  out += plan_line("Fastest plan there", answer.plan);
  const std::string next = "With " + std::to_string(answer.seq + multiple) + " tokens ";
  if (answer.next) {
    out += wrapped(
        next + answer.next->plan.plan.label() + " comes nearest and " + short_text(*answer.next),
        "  ");
  } else if (!answer.refused.empty()) {
    out += wrapped(next + "no plan is legal: " + answer.refused.front().line(), "  ");
  }
  out += wrapped("By doubling and bisection for every number of context-parallel ranks, " +
                 std::to_string(answer.searches) +
                 " exact searches; memory taken not to fall as a sequence grows.");
  return out + (answer.complete ? "" : kStopped);
}

std::string counts_text(const CountsAnswer& answer, const QuestionRequest& question,
                        const KnownRates& known) {
  std::ostringstream out;
  const std::string limits = limits_text(question);
  out << wrapped("Numbers of devices by " + objective_text(question.objective) +
                 (limits.empty() ? "" : ", with " + limits))
      << "\n";
  print_head("devices", 7, out);
  for (const RankedPlan& plan : answer.plans) {
    print_row(std::to_string(plan.plan.ranks()), 7, plan, known.rates, out);
  }
  const RankedPlan& best = answer.plans.front();
  out << "\n" << plan_line("Best plan", best);
  if (question.deadline) {
    out << format("It takes %.4g days for %g tokens.\n",
                  question.deadline->tokens / best.tokens_per_s / 86400, question.deadline->tokens);
  }
  out << proportional_text(question.objective) << rates_text(known)
      << wrapped(std::to_string(answer.counts) +
                 " numbers of devices: " + std::to_string(answer.searched) +
                 " searched exactly, the others excluded by a bound or not needed.")
      << (answer.complete ? "" : kStopped);
  return out.str();
}

std::string front_text(const ParetoAnswer& answer, const QuestionRequest& question,
                       const KnownRates& known) {
  std::ostringstream out;
  const ParetoRequest& pareto = *question.pareto;
  const std::string limits = limits_text(question);
  out << wrapped(std::string("Pareto front of ") + name_of(pareto.first) + " and " +
                 name_of(pareto.second) + (limits.empty() ? "" : ", with " + limits))
      << "\n";
  print_head("devices", 7, out);
  for (const RankedPlan& plan : answer.points) {
    print_row(std::to_string(plan.plan.ranks()), 7, plan, known.rates, out);
  }
  out << "\n" << rates_text(known);
  const bool memory = pareto.first == Measure::kMemory || pareto.second == Measure::kMemory;
  const bool devices = pareto.first == Measure::kDevices || pareto.second == Measure::kDevices;
  std::string how = std::to_string(answer.searches) + " exact searches over " +
                    (answer.counts == 1 ? "one number of devices"
                                        : std::to_string(answer.counts) + " numbers of devices");
  if (memory && devices) {
    how += ": on each the plan that needs least memory.";
  } else if (memory) {
    how +=
        " and falling limits of memory. Every plan above is on the front; points that save less "
        "than " +
        bytes_text(pareto.memory_step) + " against the one before may be left out.";
  } else {
    how += ": on each the fastest plan, without those that another one dominates.";
  }
  out << wrapped(how) << (answer.complete ? "" : kStopped);
  return out.str();
}

std::string clusters_text(const std::vector<ClusterRow>& rows, const QuestionRequest& question) {
  std::ostringstream out;
  const std::string limits = limits_text(question);
  out << wrapped("Clusters, each with its best plan by " + objective_text(question.objective) +
                 (limits.empty() ? "" : ", with " + limits))
      << "\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    out << format(" %c ", static_cast<int>('a' + i % 26)) << printable(rows[i].name, 60) << ", "
        << (rows[i].best ? rows[i].best->plan.ranks() : rows[i].devices) << " devices\n";
  }
  out << "\n";
  print_head("", 3, out);
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string key = format(" %c", static_cast<int>('a' + i % 26));
    if (rows[i].best) print_row(key, 3, *rows[i].best, rows[i].known.rates, out);
  }
  out << "\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string key = format("%c", static_cast<int>('a' + i % 26));
    if (rows[i].best) {
      out << plan_line(key, *rows[i].best);
    } else {
      out << wrapped(key + ": " + rows[i].reason, "  ");
    }
    if (rows[i].best) out << rates_text(rows[i].known);
  }
  return out.str();
}

std::string unmet_line(const RankedPlan& fastest, const QuestionRequest& question,
                       const DeviceRates& rates) {
  std::string out = "no plan keeps to the limits (" + limits_text(question) + "): the fastest, " +
                    std::to_string(fastest.plan.ranks()) + " devices with " + fastest.plan.label() +
                    ", reaches " + rate_text(fastest.tokens_per_s) + " tokens/s";
  if (question.deadline) {
    out += format(", %.4g days for the tokens",
                  question.deadline->tokens / fastest.tokens_per_s / 86400);
  }
  if (rates.usd_per_hour > 0) {
    out += format(", at %.4g USD per million tokens", usd_per_mtoken(rates, fastest));
  }
  return out;
}

}  // namespace shardwright
