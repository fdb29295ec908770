// NCCL for tests, among ranks that are threads. Calls are recorded per rank and communicator with
// stream, bytes and instruction, and performed on host memory by the streams of stand_in_device.h
// once all members have made theirs: the k-th call of one member meets the k-th of the others, as
// in NCCL, whatever stream each was given to.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "executor/comm/nccl_api.h"
#include "executor/comm/stream_source.h"

namespace shardwright::testing {

struct RecordedCall {
  std::string what;  // kind, operation, type, root; "send" and "receive" are both "message"
  Bytes bytes = 0;
  bool sends = false;  // the sending end of a message
  void* stream = nullptr;
  int instruction = -1;  // -1: between steps
  int communicator = 0;  // number, the same for all members
};

class NcclWorld {
 public:
  explicit NcclWorld(int ranks) : calls_(static_cast<size_t>(ranks)) {}

  // One per rank; `streams` tells which instruction a call belongs to.
  std::shared_ptr<NcclApi> api(int rank, StreamSource& streams);

  // In the order made by this rank.
  std::vector<RecordedCall> calls(int rank) const;
  int communicators() const;                    // made so far
  int open_handles() const;                     // neither destroyed nor aborted
  int aborted_handles() const;                  // in all
  std::vector<std::string> mismatches() const;  // of calls that met and do not fit

  // Faults. All communicators of the rank, now and later.
  void refuse_start(int rank, const std::string& words);
  void break_link(int rank, NcclStatus status, const std::string& words);

 private:
  friend class NcclStandIn;
  struct Call;
  struct Meeting;
  struct Board;
  struct Handle;
  struct Fault {
    bool at_start = false;
    NcclStatus status = NcclStatus::kError;
    std::string words;
  };

  void meet(Handle* handle, size_t number, const Call& call);
  static void perform(const std::vector<Call>& calls);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Board>> boards_;
  std::vector<std::shared_ptr<Handle>> handles_;
  std::vector<std::vector<RecordedCall>> calls_;  // [rank]
  std::map<int, Fault> faults_;
  std::vector<std::string> mismatches_;
  int aborted_ = 0;
};

}  // namespace shardwright::testing
