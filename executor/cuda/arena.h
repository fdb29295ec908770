// The device memory of one rank: blocks are placed in a few large pieces that the device gave, so
// that no call of the device is made for them.
//
// Placement depends on the live blocks alone (the smallest free stretch that fits, the lowest of
// equals; neighbours that are free are one stretch): a step that starts with the same live blocks
// and makes the same calls gets the same addresses again.
//
// Work that was given to a stream may still use memory that was freed. Each free stretch knows for
// every lane the last instruction that may, and whoever gets it is told.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "executor/cuda/device.h"
#include "planner/program/instruction.h"

namespace shardwright {

// By lane: 1 + index of the last instruction of this step that may use the memory; 0: none.
using LastUses = std::array<int, static_cast<size_t>(Lane::kCount)>;

class Arena {
 public:
  // Takes `bytes` from the device now. Without any (0) it takes pieces of at least `piece_bytes` as
  // they are needed, which the device allows outside of steps only.
  Arena(Device& device, Bytes bytes, Bytes piece_bytes = Bytes{8} << 20);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // 256-byte aligned, contents undefined, null for 0 bytes; for an instruction on `lane`. Adds to
  // *uses the instructions that must have finished before the memory is written. Throws ExecError
  // when no free stretch is long enough.
  void* allocate(Bytes bytes, LastUses* uses, Lane lane = Lane::kCompute);
  // `block` came from allocate() and was not freed since; null is ignored. `lane` and `instruction`
  // are the last that use it, -1 when nothing of this step does.
  void free(void* block, Lane lane, int instruction);
  // Until forget_uses(), memory freed by sends after these is not given to anybody, and counts as
  // live.
  void keep_sent_after(const LastUses& over);
  // Everything of the step is done: nobody needs to wait for it any more.
  void forget_uses();

  // As asked for, without padding.
  Bytes live_bytes() const { return live_bytes_ + kept_bytes_; }
  Bytes peak_bytes() const { return peak_bytes_; }
  void reset_peak() { peak_bytes_ = live_bytes(); }
  // What rounding to 256 bytes adds to the live blocks; where the highest block ever ended, over
  // all pieces; and what the device gave.
  Bytes padding_bytes() const { return padding_bytes_; }
  Bytes reach_bytes() const;
  Bytes reserved_bytes() const;

 private:
  struct Stretch {
    Bytes bytes;
    LastUses uses{};
  };
  struct Block {
    Bytes asked, bytes;
  };
  struct Piece {
    std::byte* start;
    Bytes bytes, reach = 0;
  };
  // Sends of this step on one lane: 1 + index, and the bytes asked for that they and those before
  // them freed.
  struct SentLog {
    std::vector<std::pair<int, Bytes>> sends;
    Bytes after(int over) const;  // freed by sends after this one
  };
  using Free = std::map<std::byte*, Stretch>;

  void add_piece(Bytes bytes);
  Piece& piece_of(const std::byte* at);
  void insert(std::byte* at, Stretch stretch);  // and join it with its neighbours
  void erase(Free::iterator stretch);
  // Free memory of at least `bytes` taken out of its list, the rest put back; null when there is
  // none.
  std::byte* take_free(Bytes bytes, LastUses* uses);
  std::byte* take_sent(Bytes bytes, Bytes at_most, LastUses* uses);

  Device& device_;
  const bool fixed_;
  const Bytes piece_bytes_;
  std::vector<Piece> pieces_;
  Free free_;
  std::set<std::pair<Bytes, std::byte*>> by_size_;
  std::map<std::pair<Bytes, std::byte*>, LastUses> sent_;  // freed by sends of this step
  std::optional<LastUses> sent_over_;                      // empty: all of sent_ may be given out
  std::array<SentLog, static_cast<size_t>(Lane::kCount)> logs_;
  std::map<std::byte*, Block> live_;
  Bytes live_bytes_ = 0, kept_bytes_ = 0, peak_bytes_ = 0, padding_bytes_ = 0;
};

}  // namespace shardwright
