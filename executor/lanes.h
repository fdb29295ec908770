// Lanes: what orders the work of one rank on its device, and tells when it ran.
//
// A host has one lane whatever it is told: a call is done when it returns. A device has a stream
// for every Lane: calls are only given to it, an instruction that waits for one of another lane
// makes its stream wait for that one's event, and nothing is known before the step is over. Ops and
// communicators of the rank give their work to the instruction under way.
//
//   if (lanes.start_step(true)) {               else the device repeats the step it has recorded
//     for each instruction:  begin(index, lane, after), its calls, end(index)
//   }
//   finish_step()                               from here on ns_of() knows
#pragma once

#include <cstdint>
#include <span>

#include "planner/program/instruction.h"

namespace shardwright {

class Lanes {
 public:
  virtual ~Lanes() = default;

  // False when the device runs the whole step again by itself, as given to it once before (a CUDA
  // graph): then nothing else is to be called before finish_step(), and host memory that uploads
  // read and downloads write must be the same as then. Never false on a host, or when the caller
  // does not allow it.
  virtual bool start_step(bool may_replay) = 0;
  // Throws ExecError when something of the step failed on the device.
  virtual void finish_step() = 0;

  // Calls from here on belong to instruction `index` on `lane`. They start when the instructions
  // `after` of this step, and the one before on the same lane, have finished.
  virtual void begin(int index, Lane lane, std::span<const int> after) = 0;
  virtual void end(int index) = 0;

  // Marks the moment at which everything given so far to the instruction under way is done.
  virtual int64_t stamp() = 0;
  // The moment of a stamp of the last step, on monotonic_ns()'s clock. After finish_step() only.
  virtual int64_t ns_of(int64_t stamp) const = 0;
  // Whether a stamp costs next to nothing, so that every single kernel can have two.
  virtual bool stamps_are_free() const = 0;
};

}  // namespace shardwright
