#include "planner/search.h"

#include <algorithm>
#include <memory>
#include <tuple>

namespace shardwright {
namespace {

bool better(const RankedPlan& a, const RankedPlan& b) {
  return std::tuple(a.step_ns, a.memory_peak_bytes, a.plan.label()) <
         std::tuple(b.step_ns, b.memory_peak_bytes, b.plan.label());
}

// A legal plan that may fit, and what it takes at least.
struct Candidate {
  Plan plan;
  Nanoseconds fastest_ns = 0;
};

class Searcher {
 public:
  Searcher(const ModelSpec& model, const ClusterSpec& cluster, const SearchRequest& request)
      : model_(model), cluster_(cluster), request_(request) {}

  SearchResult run() {
    for (const Plan& plan : enumerate_plans(model_, request_)) admit(plan);
    // Most promising first: once enough plans are known that are faster than any of the rest can
    // be, the rest need no simulation.
    std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return std::tuple(a.fastest_ns, a.plan.label()) < std::tuple(b.fastest_ns, b.plan.label());
    });
    for (const Candidate& candidate : candidates_) consider(candidate);
    if (result_.plans.empty()) explain();
    return std::move(result_);
  }

 private:
  void admit(const Plan& plan) {
    ++result_.stats.candidates;
    const std::vector<Rejection> rejections = check_degrees(model_, request_.ranks, plan);
    if (!rejections.empty()) {
      if (result_.stats.pruned_rules[rejections.front().rule]++ == 0) {
        first_rejections_.push_back(rejections.front());
      }
      return;
    }
    prepare(plan);
    Candidate candidate{with_stages(plan), fastest_ns_};
    if (!fits(footprint_->smallest(plan.schedule))) {
      ++result_.stats.pruned_memory;
      too_large_.push_back(std::move(candidate.plan));
      return;
    }
    if (fastest_ns_ < 0) {
      fastest_ns_ = candidate.fastest_ns = PlanCosts(model_, cluster_, candidate.plan).fastest_ns();
    }
    candidates_.push_back(std::move(candidate));
  }

  Plan with_stages(Plan plan) const {
    plan.stage_layers = prepared_.stage_layers;
    return plan;
  }

  // What plans share that differ in the schedule only; they come one after the other.
  void prepare(const Plan& plan) {
    const auto key = [](const Plan& p) {
      return std::tuple(p.dp, p.tp, p.pp, p.virtual_stages, p.micro_batch, p.recompute);
    };
    if (footprint_ != nullptr && key(plan) == key(prepared_)) return;
    prepared_ = plan;
    prepared_.stage_layers = layers_of(model_, cluster_, request_, plan);
    footprint_ = std::make_unique<Footprint>(model_, cluster_, prepared_);
    fastest_ns_ = -1;
  }

  void consider(const Candidate& candidate) {
    std::vector<RankedPlan>& best = result_.plans;
    const bool full = static_cast<int64_t>(best.size()) >= request_.top;
    if (full && candidate.fastest_ns > best.back().step_ns) {
      ++result_.stats.pruned_bound;
      return;
    }
    ++result_.stats.simulated;
    RankedPlan ranked = evaluate_plan(model_, cluster_, candidate.plan);
    if (!fits(ranked.stages)) {
      ++result_.stats.simulated_over_memory;
      too_large_.push_back(candidate.plan);
      return;
    }
    const auto place = std::upper_bound(best.begin(), best.end(), ranked, better);
    best.insert(place, std::move(ranked));
    if (static_cast<int64_t>(best.size()) > request_.top) best.pop_back();
  }

  void explain() {
    if (too_large_.empty()) {
      result_.rejections = std::move(first_rejections_);
    } else {
      result_.miss = nearest_miss(model_, cluster_, request_, too_large_);
    }
  }

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  const SearchRequest& request_;
  Plan prepared_;
  std::unique_ptr<Footprint> footprint_;
  Nanoseconds fastest_ns_ = -1;  // of prepared_; -1 until somebody asks
  std::vector<Candidate> candidates_;
  std::vector<Plan> too_large_;
  std::vector<Rejection> first_rejections_;
  SearchResult result_;
};

}  // namespace

int64_t SearchStats::pruned_by_rules() const {
  int64_t sum = 0;
  for (const auto& [rule, count] : pruned_rules) sum += count;
  return sum;
}

Result<SearchResult> search(const ModelSpec& model, const ClusterSpec& cluster,
                            const SearchRequest& request) {
  SearchRequest complete = request;
  if (auto error = check_request(model, cluster, &complete)) return *error;
  return Searcher(model, cluster, complete).run();
}

}  // namespace shardwright
