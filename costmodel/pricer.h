// Pricer: seconds for a piece of Work on a device of a cluster. Deterministic and free of
// allocation.
#pragma once

#include <array>
#include <optional>

#include "costmodel/cluster_spec.h"
#include "costmodel/op_formulas.h"
#include "costmodel/work.h"

namespace shardwright {

// Where the members of a communicating group sit: `size` ranks from `first` on, `stride` apart.
// With `run` above 0 they come in runs of so many, whose first members are `jump` apart; `run`
// divides `size`.
struct GroupPlacement {
  int64_t first = 0, stride = 1, size = 1;
  int64_t run = 0, jump = 0;
  int64_t member(int64_t i) const {
    return run == 0 ? first + i * stride : first + i / run * jump + i % run * stride;
  }
  friend bool operator==(const GroupPlacement&, const GroupPlacement&) = default;
};

class Pricer {
 public:
  // Prices for `rank`'s device while `active_ranks` ranks of its node work. `cluster` must outlive
  // this.
  Pricer(const ClusterSpec& cluster, int64_t rank, int64_t active_ranks);

  double gemm_s(const GemmWork& work) const;
  double attention_s(const AttentionWork& work) const;
  double pass_s(const PassWork& work) const;
  // Writing keys and values into a cache, which the timings of attention contain and serving needs;
  // training does not.
  double cache_s(const AttentionWork& work) const;
  // All work but collectives. REQUIRES: not a CollectiveWork.
  double compute_s(const Work& work) const;

 private:
  double one_pass_s(const PassWork& work) const;  // whatever its count
  // A model with its peaks resolved: seconds per FLOP and per byte, and the device's factors.
  template <typename Model>
  struct Priced {
    const Model* model = nullptr;  // nullptr: the type has no peak
    bool own = false;              // measured for this layout or direction, not derived
    OpRates rates;
    double factor = 1;
  };
  static constexpr size_t kTypes = 8;  // at least the number of data types
  template <typename Model, typename Models>
  Priced<Model> resolve(const Models& models, DataType type, size_t which, double derived) const;

  const DeviceProfile& device_;
  const RateSet& rates_;
  std::array<std::array<Priced<GemmModel>, 3>, kTypes> gemm_;            // by type and layout
  std::array<std::array<Priced<AttentionModel>, 2>, kTypes> attention_;  // forward, backward
};

// An error that names the first device without a peak for `type`. Pricing a GEMM or an attention of
// a type without a peak is a broken invariant, so callers ask this once beforehand.
std::optional<Error> check_supports(const ClusterSpec& cluster, DataType type);

// The group's measured curve where the level has one for this kind and size, else
// latency and bandwidth of the outermost level that the group spans:
//   all-reduce      2(n-1) latency + 2(n-1)/n bytes / bandwidth      (ring)
//   all-gather, reduce-scatter, all-to-all: (n-1) and (n-1)/n;  broadcast, send: 1 and 1.
// A group over several levels pays each level in turn (hierarchical). size 1 costs nothing.
//
// Over several levels, g members of one kind of instance meeting at a level:
//   all-gather, reduce-scatter   the formula with n = g on the bytes that the levels inside leave
//   all-reduce                   reduce-scatter and all-gather at every level but the outermost
//   all-to-all                   each peer's share at the level that joins the two
//   broadcast                    every level once;  send, receive: the outermost only
// Members that spread unevenly over instances are priced at the mean share and the largest count;
// runs are taken to lie in instances as the first one does.
// REQUIRES: the group lies within the cluster.
double collective_s(const ClusterSpec& cluster, const CollectiveWork& work,
                    const GroupPlacement& group);
// The same, split into what the innermost level takes and what those around it do.
struct LevelSeconds {
  double inside = 0, outside = 0;
};
LevelSeconds collective_levels(const ClusterSpec& cluster, const CollectiveWork& work,
                               const GroupPlacement& group);

}  // namespace shardwright
