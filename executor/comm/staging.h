// Memory of the host that data of a device passes through on its way to other ranks: down and, as
// fp32, to the host communicator, and back.
#pragma once

#include <cstdint>
#include <vector>

#include "executor/ops.h"

namespace shardwright {

class Staging {
 public:
  // `ops` outlives this.
  explicit Staging(Ops& ops) : ops_(ops) {}
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Host memory that download() then fills and upload() reads; contents undefined. Valid until the
  // next call for the same purpose.
  float* floats(int64_t elements);
  double* doubles(int64_t elements);

  // From the device into `floats` (from floats()), bf16 made wider. The lane has done all that was
  // given to it, and the data is there, on return.
  void download(float* floats, const void* from, int64_t elements, DataType type);
  // The other way, fp32 rounded to the type; `to` is complete on return.
  void upload(void* to, const float* floats, int64_t elements, DataType type);
  void download(double* doubles, const double* from, int64_t elements);
  void upload(double* to, const double* doubles, int64_t elements);

 private:
  // Pinned memory that lives as long as the Ops do: grown by doubling, so that what is left behind
  // is less than what is used.
  struct Block {
    void* data = nullptr;
    Bytes bytes = 0;
  };
  void* reserve(Block* block, Bytes bytes);

  Ops& ops_;
  Block block_;   // what the device copies from and to
  Block narrow_;  // the same for bf16
};

// The value of a bf16 is the upper half of an fp32's bits. Rounds to nearest, ties to even; a NaN
// stays one.
float wide(uint16_t bf16);
uint16_t narrow(float value);

}  // namespace shardwright
