// How busy other programs keep the cores. A benchmark that shares its cores measures its neighbours
// too; this says when it did.
#pragma once

#include <cstdint>

namespace shardwright {

class OtherLoad {
 public:
  OtherLoad();  // starts to count
  // Share of the time of all cores that went to other processes since construction, 0..1. Counted
  // in clock ticks of 10 ms, so good to a few percent over a second. 0 where there is no /proc.
  double share() const;

 private:
  struct Ticks {
    double others = 0, all = 0;  // of all cores
  };
  static Ticks now();
  Ticks start_;
};

}  // namespace shardwright
