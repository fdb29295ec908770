#include "planner/search/questions.h"

#include <algorithm>
#include <numeric>

#include "planner/search/plan_space.h"
#include "planner/space.h"

namespace shardwright {
namespace {

constexpr int64_t kLongestSeq = int64_t{1} << 30;

std::string text_of_recompute(const Plan& plan) {
  if (plan.recompute != Recompute::kSelective) return name_of(plan.recompute);
  std::string text;
  for (const std::string& module : names_of_modules(plan.recompute_modules)) {
    text += (text.empty() ? "" : "+") + module;
  }
  return text;
}

std::vector<int64_t> descending_divisors(int64_t value) {
  std::vector<int64_t> out = divisors(value);
  std::reverse(out.begin(), out.end());
  return out;
}

// Searches for one plan each, counted; degrees that no pins leave are no plan and no error.
class Asker {
 public:
  Asker(Software& software, const SpaceRequest& request) : software_(software), request_(request) {
    request_.top = 1;
  }
  Result<SpaceResult> ask(const SpaceRequest& request) {
    ++searches_;
    Result<SpaceResult> found = search_space(software_, request);
    if (!found && found.error().field == "pin") return SpaceResult();
    if (found && !found->stats.complete) complete_ = false;
    return found;
  }
  const SpaceRequest& request() const { return request_; }
  int64_t searches() const { return searches_; }
  bool complete() const { return complete_; }

 private:
  Software& software_;
  SpaceRequest request_;
  int64_t searches_ = 0;
  bool complete_ = true;
};

std::optional<Error> find_same(Software& software, Asker* asker, LargestMicroBatch* out) {
  const Plan& best = out->best.plan;
  SpaceRequest request = asker->request();
  narrow_to(best, {"micro_batch"}, &request.constraints);
  std::optional<Shortage> next;
  for (int64_t size : descending_divisors(request.global_batch / best.dp)) {
    if (size <= best.micro_batch) break;
    if (!asker->request().constraints.allows("micro_batch", size)) continue;
    SpaceRequest sized = request;
    sized.constraints.narrow("micro_batch", std::to_string(size));
    const Result<SpaceResult> found = asker->ask(sized);
    if (!found) return found.error();
    if (!asker->complete()) return std::nullopt;
    if (!found->plans.empty()) {
      out->same = found->plans.front();
      break;
    }
    next = shortage_of(software, sized, *found);
  }
  out->next = std::move(next);
  return std::nullopt;
}

std::optional<Error> find_largest(Asker* asker, LargestMicroBatch* out) {
  for (int64_t size : descending_divisors(asker->request().global_batch)) {
    if (size <= out->same.plan.micro_batch) break;
    if (!asker->request().constraints.allows("micro_batch", size)) continue;
    SpaceRequest request = asker->request();
    request.constraints.narrow("micro_batch", std::to_string(size));
    const Result<SpaceResult> found = asker->ask(request);
    if (!found) return found.error();
    if (!asker->complete()) return std::nullopt;
    if (found->plans.empty()) continue;
    out->largest = found->plans.front();
    return std::nullopt;
  }
  return std::nullopt;
}

// The longest sequence with one cp, if it is longer than `known`.
class SeqOfCp {
 public:
  SeqOfCp(Asker* asker, int64_t cp, int64_t multiple) : asker_(asker), cp_(cp) {
    unit_ = std::lcm(multiple, cp);
  }
  // Multiples of the unit: the first beyond `known` must fit, or nothing longer does.
  std::optional<Error> extend(int64_t* known) {
    int64_t low = *known / unit_, step = 1, high = kLongestSeq / unit_ + 1;
    while (low + step < high) {
      if (auto error = fits(low + step)) return error;
      if (!fits_) {
        high = low + step;
        break;
      }
      low += step;
      step *= 2;
    }
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (auto error = fits(middle)) return error;
      (fits_ ? low : high) = middle;
    }
    *known = std::max(*known, low * unit_);
    return std::nullopt;
  }

 private:
  std::optional<Error> fits(int64_t units) {
    SpaceRequest request = asker_->request();
    request.seq = units * unit_;
    request.constraints.narrow("cp", std::to_string(cp_));
    const Result<SpaceResult> found = asker_->ask(request);
    if (!found) return found.error();
    fits_ = !found->plans.empty() && asker_->complete();
    return std::nullopt;
  }
  Asker* asker_;
  int64_t cp_, unit_ = 1;
  bool fits_ = false;
};

// The plan at the answer, and that `multiple` tokens more do not fit; if they do, the answer grows.
std::optional<Error> settle(Software& software, Asker* asker, int64_t multiple, LongestSeq* out) {
  SpaceRequest request = asker->request();
  for (request.seq = out->seq;; request.seq += multiple) {
    if (request.seq > kLongestSeq) return std::nullopt;
    const Result<SpaceResult> found = asker->ask(request);
    if (!found) return found.error();
    if (found->plans.empty()) {
      out->next = shortage_of(software, request, *found);
      out->refused = found->rejections;
      return std::nullopt;
    }
    out->seq = request.seq;
    out->plan = found->plans.front();
    if (!asker->complete()) return std::nullopt;
  }
}

}  // namespace

void narrow_to(const Plan& plan, const std::vector<std::string>& free, Constraints* constraints) {
  const Split& split = plan.split;
  const auto text = [](bool value) { return std::string(value ? "true" : "false"); };
  const std::vector<std::pair<std::string, std::string>> choices = {
      {"dp", std::to_string(plan.dp)},
      {"tp", std::to_string(plan.tp)},
      {"pp", std::to_string(plan.pp)},
      {"cp", std::to_string(split.cp)},
      {"ep", std::to_string(split.ep)},
      {"etp", std::to_string(split.expert_tp(plan.tp))},
      {"virtual_stages", std::to_string(plan.virtual_stages)},
      {"micro_batch", std::to_string(plan.micro_batch)},
      {"zero", std::to_string(plan.zero)},
      {"shard_group", std::to_string(plan.shard_group)},
      {"recompute_layers", std::to_string(plan.recompute_layers)},
      {"schedule", name_of(plan.schedule)},
      {"recompute", text_of_recompute(plan)},
      {"cp_kind", name_of(split.cp_kind)},
      {"rank_order", name_of(plan.rank_order)},
      {"unlike_batches", text(!plan.replica_batches.empty())},
      {"sequence_parallel", text(split.sequence_parallel)},
      {"overlap_gradients", text(plan.overlap.gradients)},
      {"overlap_parameters", text(plan.overlap.parameters)},
      {"overlap_tensor", text(plan.overlap.tensor)},
      {"overlap_pipeline", text(plan.overlap.pipeline)},
      {"overlap_experts", text(plan.overlap.experts)},
      {"optimizer_offload", text(plan.optimizer_offload > 0)}};
  const auto pin = [&](const std::string& name, const std::string& value) {
    if (std::find(free.begin(), free.end(), name) == free.end()) constraints->narrow(name, value);
  };
  for (const auto& [name, value] : choices) pin(name, value);
  for (const OffloadShare& offload : kOffloadShares) {
    if (plan.activation_offload == offload.share) pin("activation_offload", offload.name);
  }
}

Result<MicroBatchAnswer> max_micro_batch(Software& software, const SpaceRequest& request) {
  MicroBatchAnswer out;
  Asker asker(software, request);
  Result<SpaceResult> best = search_space(software, asker.request());
  if (!best) return best.error();
  if (best->plans.empty()) {
    out.nothing = *std::move(best);
    return out;
  }
  LargestMicroBatch answer;
  answer.best = answer.same = answer.largest = best->plans.front();
  answer.complete = best->stats.complete;
  if (answer.complete) {
    if (auto error = find_same(software, &asker, &answer)) return *error;
    answer.largest = answer.same;
    if (auto error = find_largest(&asker, &answer)) return *error;
    answer.complete = asker.complete();
  }
  answer.searches = asker.searches() + 1;
  out.found = std::move(answer);
  return out;
}

Result<SeqAnswer> max_seq(Software& software, const SpaceRequest& request, int64_t multiple) {
  if (multiple < 1 || multiple > kLongestSeq) {
    return Error{"command line", "seq-multiple", std::to_string(multiple),
                 "a whole number from 1 to " + std::to_string(kLongestSeq)};
  }
  SeqAnswer out;
  Asker asker(software, request);
  const int64_t ranks = request.ranks > 0 ? request.ranks : software.cluster().num_devices();
  SpaceRequest shortest = asker.request();
  shortest.seq = multiple;
  // Bad requests are errors here; later ones are of this code's making.
  Result<SpaceResult> first = search_space(software, shortest);
  if (!first) return first.error();
  int64_t seq = first->plans.empty() ? 0 : multiple;
  std::vector<int64_t> cps = request.constraints.allowed("cp", descending_divisors(ranks));
  for (int64_t cp : cps) {
    if (!asker.complete()) break;
    if (auto error = SeqOfCp(&asker, cp, multiple).extend(&seq)) return *error;
  }
  if (seq == 0) {
    out.nothing = *std::move(first);
    return out;
  }
  LongestSeq answer;
  answer.seq = seq;
  if (auto error = settle(software, &asker, multiple, &answer)) return *error;
  answer.complete = asker.complete();
  answer.searches = asker.searches() + 1;
  out.found = std::move(answer);
  return out;
}

}  // namespace shardwright
