// What `plan` prints about a question, for people: at most 100 columns.
#pragma once

#include <string>
#include <vector>

#include "planner/search/pareto.h"
#include "planner/search/questions.h"
#include "tools/questions_request.h"

namespace shardwright {

// One cluster of several, with its best plan or why there is none.
struct ClusterRow {
  std::string name;
  int64_t devices = 0;
  KnownRates known;
  std::optional<RankedPlan> best;
  std::string reason;
};

std::string micro_batch_text(const LargestMicroBatch& answer);
std::string seq_text(const LongestSeq& answer, int64_t multiple);
std::string counts_text(const CountsAnswer& answer, const QuestionRequest& question,
                        const KnownRates& known);
std::string front_text(const ParetoAnswer& answer, const QuestionRequest& question,
                       const KnownRates& known);
std::string clusters_text(const std::vector<ClusterRow>& rows, const QuestionRequest& question);
// One line: no plan keeps to the limits, and what comes nearest.
std::string unmet_line(const RankedPlan& fastest, const QuestionRequest& question,
                       const DeviceRates& rates);

}  // namespace shardwright
