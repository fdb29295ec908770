#include "tools/questions_command.h"

#include <algorithm>
#include <ostream>

#include "costmodel/hf_config.h"
#include "tools/exit_codes.h"
#include "tools/questions_output.h"
#include "tools/search_progress.h"
#include "tools/space_table.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

// One question to one cluster.
class Question {
 public:
  Question(const PlanArguments& arguments, std::string stack, const PlanInputs& inputs,
           Software* software, std::ostream* out, std::ostream* err)
      : arguments_(arguments),
        stack_(std::move(stack)),
        inputs_(inputs),
        software_(*software),
        out_(*out),
        err_(*err),
        progress_(*err) {}

  int answer(const QuestionRequest& question, const KnownRates& known) {
    Result<SpaceRequest> request = space_request_of(arguments_);
    if (!request) return refuse(request.error(), err_);
    request->progress = [this](const SpaceRequest::Progress& state) {
      return progress_.show(state);
    };
    if (arguments_.question.max_micro_batch) return micro_batch(*request);
    if (arguments_.question.max_seq) return seq(*request);
    if (auto error = check_rates(question, known.rates)) return refuse(*error, err_);
    return question.pareto ? front(*request, question, known) : counts(*request, question, known);
  }

 private:
  int micro_batch(const SpaceRequest& request) {
    const auto answer = max_micro_batch(software_, request);
    if (!answer) return refused(answer.error());
    if (!answer->found) return nothing(request, answer->nothing);
    return give(answer->found->same, [&] {
      return arguments_.json ? micro_batch_json(*answer->found, stack_)
                             : micro_batch_text(*answer->found);
    });
  }
  int seq(const SpaceRequest& request) {
    const int64_t multiple = arguments_.question.seq_multiple;
    const auto answer = max_seq(software_, request, multiple);
    if (!answer) return refused(answer.error());
    if (!answer->found) {
      SpaceRequest shortest = request;
      shortest.seq = multiple;
      return nothing(shortest, answer->nothing);
    }
    return give(answer->found->plan, [&] {
      return arguments_.json ? seq_json(*answer->found, stack_)
                             : seq_text(*answer->found, multiple);
    });
  }
  int counts(const SpaceRequest& request, const QuestionRequest& question,
             const KnownRates& known) {
    const auto answer =
        best_over_counts(software_, request, known.rates, question.limits, question.objective);
    if (!answer) return refused(answer.error());
    if (answer->plans.empty() && !answer->fastest) return nothing(request, answer->nothing);
    if (answer->plans.empty()) {
      progress_.clear();
      if (arguments_.json) out_ << counts_json(*answer, question, known, stack_);
      err_ << unmet_line(*answer->fastest, question, known.rates) << "\n";
      return kExitNothingFits;
    }
    return give(answer->plans.front(), [&] {
      return arguments_.json ? counts_json(*answer, question, known, stack_)
                             : counts_text(*answer, question, known);
    });
  }
  int front(const SpaceRequest& request, const QuestionRequest& question, const KnownRates& known) {
    if (!arguments_.out.empty()) {
      return refused({kCommandLine, "output", "with --pareto", "one plan to write"});
    }
    const auto answer =
        pareto_front(software_, request, known.rates, question.limits, *question.pareto);
    if (!answer) return refused(answer.error());
    if (answer->points.empty()) return nothing(request, answer->nothing);
    progress_.clear();
    out_ << (arguments_.json ? front_json(*answer, question, known, stack_)
                             : front_text(*answer, question, known));
    return kExitOk;
  }

  template <typename Text>
  int give(const RankedPlan& plan, Text&& text) {
    progress_.clear();
    if (auto error = write_best(arguments_, inputs_, stack_, {plan})) return refuse(*error, err_);
    out_ << text();
    if (!arguments_.json && !arguments_.out.empty()) {
      out_ << "\nThe plan is in " << arguments_.out << "\n";
    }
    return kExitOk;
  }
  int refused(const Error& error) {
    progress_.clear();
    return refuse(error, err_);
  }
  int nothing(const SpaceRequest& request, const SpaceResult& result) {
    const auto shortage = shortage_and_remedies(software_, request, result);
    progress_.clear();
    if (result.rejections.empty() && !shortage) {
      err_ << "nothing fits: the limits leave no number of devices, or no plan on them\n";
    } else {
      err_ << reason_text(result, shortage) << "\n";
    }
    return kExitNothingFits;
  }

  const PlanArguments& arguments_;
  std::string stack_;
  const PlanInputs& inputs_;
  Software& software_;
  std::ostream &out_, &err_;
  SearchProgress progress_;
};

// The row of one cluster: its best plan by the objective, on all devices where that is all that is
// asked.
Result<ClusterRow> row_of(const PlanArguments& arguments, const QuestionRequest& question,
                          const ModelSpec& model, const ClusterSpec& cluster,
                          const KnownRates& known, SearchProgress* progress) {
  Result<SpaceRequest> request = space_request_of(arguments);
  if (!request) return request.error();
  request->progress = [=](const SpaceRequest::Progress& state) { return progress->show(state); };
  request->top = 1;
  if (!question.over_counts() && request->ranks == 0) request->ranks = cluster.num_devices();
  const auto software = load_software(arguments, model, cluster, stack_for(arguments));
  if (!software) return software.error();
  const auto found =
      best_over_counts(**software, *request, known.rates, question.limits, question.objective);
  if (!found) {
    Error error = found.error();
    error.file += ": cluster " + printable(cluster.name, 60);
    return error;
  }
  ClusterRow row{cluster.name, cluster.num_devices(), known, std::nullopt, ""};
  if (!found->plans.empty()) {
    row.best = found->plans.front();
  } else if (found->fastest) {
    row.reason = unmet_line(*found->fastest, question, known.rates);
  } else if (found->nothing.nearest) {
    row.reason = shortage_of(**software, *request, found->nothing)->line();
  } else {
    row.reason = found->nothing.rejections.empty() ? "the limits leave no number of devices"
                                                   : reason_text(found->nothing, std::nullopt);
  }
  return row;
}

std::optional<Error> check_comparison(const PlanArguments& arguments) {
  if (!arguments.cluster.empty()) {
    return Error{kCommandLine, "compare-clusters", "with --cluster", "the clusters in one list"};
  }
  if (!arguments.out.empty()) {
    return Error{kCommandLine, "output", "with --compare-clusters", "one plan to write"};
  }
  if (arguments.stack == kOwnStack) {
    return Error{kCommandLine, "stack", kOwnStack, "a framework's stack for --compare-clusters"};
  }
  if (arguments.seq == 0) return Error{kCommandLine, "--seq", "none", "tokens per sequence"};
  if (split_commas(arguments.question.compare_clusters).size() >= 2) return std::nullopt;
  return Error{kCommandLine, "compare-clusters",
               '"' + printable(arguments.question.compare_clusters) + '"',
               "two or more clusters with commas between them"};
}

}  // namespace

bool asks(const QuestionArguments& q) {
  return q.max_micro_batch || q.max_seq || q.min_devices || !q.pareto.empty() ||
         (!q.objective.empty() && q.objective != "step") || !q.deadline.empty() ||
         q.max_usd_per_mtoken || q.max_watts || q.max_devices || !q.compare_clusters.empty() ||
         !q.usd_per_hour.empty() || !q.watts.empty();
}

int run_question(const PlanArguments& arguments, const std::string& stack, const PlanInputs& inputs,
                 std::ostream& out, std::ostream& err) {
  const Result<QuestionRequest> question = question_request_of(arguments.question);
  if (!question) return refuse(question.error(), err);
  const Result<KnownRates> known = rates_of(arguments.question, 0, 1, inputs.cluster);
  if (!known) return refuse(known.error(), err);
  PlanArguments given = arguments;
  // Rates alone are shown for the devices given.
  const bool all = !question->over_counts() && !question->pareto;
  if (all && given.ranks == 0) given.ranks = inputs.cluster.num_devices();
  const auto software = load_software(arguments, inputs.model, inputs.cluster, stack);
  if (!software) return refuse(software.error(), err);
  return Question(given, stack, inputs, software->get(), &out, &err).answer(*question, *known);
}

int compare_clusters(const PlanArguments& arguments, std::ostream& out, std::ostream& err) {
  if (auto error = check_comparison(arguments)) return refuse(*error, err);
  const Result<QuestionRequest> question = question_request_of(arguments.question);
  if (!question) return refuse(question.error(), err);
  const std::string profiles = default_profiles_dir();
  const Result<ModelSpec> model = load_model(arguments.model, profiles);
  if (!model) return refuse(model.error(), err);
  const std::vector<std::string> names = split_commas(arguments.question.compare_clusters);
  std::vector<ClusterSpec> clusters;
  std::vector<KnownRates> rates;
  for (size_t i = 0; i < names.size(); ++i) {
    Result<ClusterSpec> cluster = load_cluster(names[i], profiles);
    if (!cluster) return refuse(cluster.error(), err);
    const Result<KnownRates> known = rates_of(arguments.question, i, names.size(), *cluster);
    if (!known) return refuse(known.error(), err);
    if (auto error = check_rates(*question, known->rates)) return refuse(*error, err);
    clusters.push_back(*std::move(cluster));
    rates.push_back(*known);
  }
  std::vector<ClusterRow> rows;
  SearchProgress progress(err);
  for (size_t i = 0; i < names.size(); ++i) {
    const Result<ClusterRow> row =
        row_of(arguments, *question, *model, clusters[i], rates[i], &progress);
    if (!row) {
      progress.clear();
      return refuse(row.error(), err);
    }
    rows.push_back(*row);
  }
  progress.clear();
  const bool any = std::any_of(rows.begin(), rows.end(), [](const auto& r) { return r.best; });
  if (!any && !arguments.json) {
    err << "nothing fits: " << rows.front().name << ": " << rows.front().reason << "\n";
    return kExitNothingFits;
  }
  out << (arguments.json ? clusters_json(rows, *question) : clusters_text(rows, *question));
  if (any) return kExitOk;
  err << "nothing fits on any of the clusters\n";
  return kExitNothingFits;
}

}  // namespace shardwright
