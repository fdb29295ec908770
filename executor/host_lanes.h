// Lanes of a host: calls run where they are made, a stamp is the time itself.
#pragma once

#include "executor/comm/communicator.h"
#include "executor/lanes.h"

namespace shardwright {

class HostLanes final : public Lanes {
 public:
  bool start_step(bool) override { return true; }
  void finish_step() override {}
  void begin(int, Lane, std::span<const int>) override {}
  void end(int) override {}
  int64_t stamp() override { return monotonic_ns(); }
  int64_t ns_of(int64_t stamp) const override { return stamp; }
  bool stamps_are_free() const override { return true; }
};

}  // namespace shardwright
