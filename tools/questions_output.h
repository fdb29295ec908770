// What `plan --json` prints about a question.
#pragma once

#include <string>

#include "tools/questions_table.h"

namespace shardwright {

std::string micro_batch_json(const LargestMicroBatch& answer, const std::string& stack);
std::string seq_json(const LongestSeq& answer, const std::string& stack);
std::string counts_json(const CountsAnswer& answer, const QuestionRequest& question,
                        const KnownRates& known, const std::string& stack);
std::string front_json(const ParetoAnswer& answer, const QuestionRequest& question,
                       const KnownRates& known, const std::string& stack);
std::string clusters_json(const std::vector<ClusterRow>& rows, const QuestionRequest& question);

}  // namespace shardwright
