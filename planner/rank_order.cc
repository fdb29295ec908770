#include "planner/rank_order.h"

#include "costmodel/check.h"

namespace shardwright {

const char* name_of(RankOrder order) {
  return order == RankOrder::kTpCpDpPp ? "tp-cp-dp-pp" : "tp-cp-pp-dp";
}

bool parse_rank_order(const std::string& name, RankOrder* out) {
  for (RankOrder order : {RankOrder::kTpCpDpPp, RankOrder::kTpCpPpDp}) {
    if (name != name_of(order)) continue;
    *out = order;
    return true;
  }
  return false;
}

bool RankNumbering::is_regular(int64_t stride, int64_t size) const {
  if (size == 1 || pp == 1) return true;
  const int64_t block = stride * size;
  if (block <= together) return together % block == 0;
  if (stride >= together) return stride % together == 0;
  return together % stride == 0 && block % together == 0;
}

GroupPlacement RankNumbering::group(int64_t stage, int64_t first, int64_t stride,
                                    int64_t size) const {
  GroupPlacement out{rank(stage, first), stride, size};
  if (size == 1 || pp == 1 || stride * size <= together) return out;
  SW_CHECK(is_regular(stride, size),
           "groups of " << size << " places " << stride << " apart in " << together << " together");
  if (stride >= together) {
    out.stride = stride * pp;
    return out;
  }
  out.run = together / stride;
  out.jump = together * pp;
  return out;
}

}  // namespace shardwright
