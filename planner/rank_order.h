// The order in which ranks are numbered over the axes of a plan. Neighbours in the first axis sit
// closest together: what an order puts first talks over the fastest links.
#pragma once

#include <cstdint>
#include <string>

#include "costmodel/pricer.h"

namespace shardwright {

// Named as Megatron-Core's orders are (its `order` of initialize_model_parallel; the second is what
// --use-tp-pp-dp-mapping asks for), fastest axis first. tp and cp meet in every layer and come
// first in both.
enum class RankOrder : uint8_t {
  kTpCpDpPp,  // stages next to each other in dp: gradients travel near, messages far
  kTpCpPpDp,  // the stages of a replica side by side: messages travel near, gradients far
};
constexpr int kRankOrders = 2;
const char* name_of(RankOrder order);  // "tp-cp-dp-pp", "tp-cp-pp-dp"
bool parse_rank_order(const std::string& name, RankOrder* out);

// Where the ranks of a stage lie. A `place` counts them with tp fastest, then cp, then dp (for
// routed experts etp, ep and their replicas), whatever the order; `together` of them have ranks in
// a row, followed by as many of each other stage.
struct RankNumbering {
  static RankNumbering of(RankOrder order, int64_t tp_cp, int64_t dp, int64_t pp) {
    return {order == RankOrder::kTpCpPpDp ? tp_cp : tp_cp * dp, pp};
  }

  int64_t together = 1;  // the whole stage where pp is the outermost axis
  int64_t pp = 1;

  int64_t rank(int64_t stage, int64_t place) const {
    return place % together + together * (stage + pp * (place / together));
  }
  int64_t stage_of(int64_t rank) const { return rank / together % pp; }
  int64_t place_of(int64_t rank) const {
    return rank % together + together * (rank / together / pp);
  }
  // The ranks of `size` places `stride` apart from `first` on. REQUIRES: is_regular(stride, size),
  // and `first` is below stride after a multiple of stride * size.
  GroupPlacement group(int64_t stage, int64_t first, int64_t stride, int64_t size) const;
  // Whether such groups are runs of equally many ranks, equally far apart.
  bool is_regular(int64_t stride, int64_t size) const;
};

}  // namespace shardwright
