// What groups and messages of one rank over NCCL share: making communicators, giving a call to the
// lane under way, waiting with a deadline, and ending everything when something fails.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "executor/comm/nccl_call.h"
#include "executor/comm/stream_source.h"
#include "executor/ops.h"

namespace shardwright {

// What the link works with; all but the api must outlive it.
struct NcclParts {
  std::shared_ptr<NcclApi> api;
  Communicator& host;  // carries ids, barriers and the news that a peer failed
  Ops& ops;
  StreamSource& streams;
  std::chrono::nanoseconds deadline;  // of every single wait
};

class NcclLink final : public StepWatch {
 public:
  explicit NcclLink(NcclParts parts);
  ~NcclLink() override;
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  // A new NCCL communicator among `members`, at least two, numbered as they stand there; this rank
  // at `index`. Called by all of them, by every rank in an order that no two of them see
  // differently. Lives as long as the link.
  NcclChannel& open(const std::vector<int>& members, int index, int max_ctas,
                    const std::string& name);

  // Gives a call to the lane under way. `enqueue` makes the call at the place it is given. Returns
  // now() before and after it.
  using Enqueue = std::function<NcclResult(NcclApi&, const NcclPlace&)>;
  Timing run(NcclChannel& channel, const NcclCall& call, const Enqueue& enqueue);
  // A stamp of the instruction under way; between steps the host's clock.
  int64_t now();
  // For calls between steps: waits until what was given to the lane is done.
  void await_idle(NcclChannel& channel, const NcclCall& call);

  int rank() const { return parts_.host.rank(); }
  int size() const { return parts_.host.size(); }
  Communicator& host() { return parts_.host; }
  Ops& ops() { return parts_.ops; }
  const std::string& backend() const { return backend_; }

  void poll(const StepProgress& progress) override;
  void step_finished() override { step_over_ = true; }

 private:
  struct Issued {
    int instruction;
    const NcclChannel* channel;
    NcclCall call;
  };

  NcclId share_id(const std::vector<int>& members, int index, const std::string& where);
  void note(const NcclChannel& channel, const NcclCall& call);
  void check_usable(const std::string& where) const;
  // Until the call is on its stream. `where` describes it and is asked only on failure.
  using Where = std::function<std::string()>;
  void settle(NcclChannel& channel, NcclResult result, const Where& where);
  void wait_until(const std::function<bool()>& done, const Where& where, const std::string& late);
  void check_peers(const Where& where);
  bool peer_failed();
  void check(NcclResult result, const NcclChannel* channel, const Where& where);
  [[noreturn]] void fail(const std::string& where, const std::string& what, bool remote = false);
  std::string describe(std::span<const int> unfinished) const;
  void close_all();
  void abort_all();

  const NcclParts parts_;
  const std::string backend_;
  std::vector<std::unique_ptr<NcclChannel>> channels_;  // in the order made
  std::vector<Issued> issued_;                          // calls of this step, or of the last one
  bool step_over_ = false;
  bool failed_ = false;
  const int exceptions_at_start_;
};

}  // namespace shardwright
