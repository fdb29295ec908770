// Questions about a plan's limits that take several searches: the largest microbatch and the
// longest sequence that fit.
//
// Whether anything fits is asked of search_space, exactly; which values are asked is said below.
#pragma once

#include <optional>

#include "planner/search/shortage.h"

namespace shardwright {

// Pins every choice of the plan but those in `free`, beside what is said already.
void narrow_to(const Plan& plan, const std::vector<std::string>& free, Constraints* constraints);

// Microbatches divide the replica's batch: every divisor is asked, largest first.
struct LargestMicroBatch {
  RankedPlan best;     // the fastest plan of the space
  RankedPlan same;     // its other choices, with the largest microbatch that fits; layers per chunk
                       // follow from the times again
  RankedPlan largest;  // the fastest of those with the largest microbatch of the whole space
  // With best's other choices the next microbatch and what it lacks; empty when `same` has the
  // replica's whole batch.
  std::optional<Shortage> next;
  int64_t searches = 0;
  bool complete =
      true;  // false: request.progress stopped it, what is here is what was found so far
};
struct MicroBatchAnswer {
  std::optional<LargestMicroBatch> found;
  SpaceResult nothing;  // when not even the space's best plan fits
};
Result<MicroBatchAnswer> max_micro_batch(Software& software, const SpaceRequest& request);

// The longest sequence, a multiple of `multiple`, for which some plan of the space fits, the batch
// counted in sequences as before. Divisibility by cp is the only rule in which a longer sequence
// may be legal where a shorter one is not, so each cp is bisected by itself, over the multiples of
// `multiple` that it divides, after doubling. That takes memory for not falling while a sequence
// grows, which holds for a plan of given layers per chunk; since these are balanced anew for each
// sequence, the multiples that follow the answer are asked too, until one does not fit.
struct LongestSeq {
  int64_t seq = 0;                 // tokens
  RankedPlan plan;                 // the fastest at that length
  std::optional<Shortage> next;    // `multiple` more tokens: what they lack; empty: a rule refuses
  std::vector<Rejection> refused;  // the rules, then
  int64_t searches = 0;
  bool complete = true;
};
struct SeqAnswer {
  std::optional<LongestSeq> found;
  SpaceResult nothing;  // at the shortest sequence
};
// request.seq is not used.
Result<SeqAnswer> max_seq(Software& software, const SpaceRequest& request, int64_t multiple);

}  // namespace shardwright
