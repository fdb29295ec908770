#include "tests/executor/comm/nccl_stand_in.h"

#include <algorithm>
#include <cstring>

#include "costmodel/check.h"
#include "executor/comm/nccl_call.h"
#include "executor/comm/reduce.h"
#include "executor/comm/staging.h"
#include "tests/executor/comm/stand_in_device.h"

namespace shardwright::testing {

struct NcclWorld::Call {
  NcclCall call;
  const void* in = nullptr;
  void* out = nullptr;
};

struct NcclWorld::Meeting {
  std::vector<std::optional<Call>> calls;  // [members]
  bool done = false;
};

struct NcclWorld::Board {
  int number = 0, size = 0;
  int joined = 0, finalized = 0;
  std::map<size_t, Meeting> meetings;
};

struct NcclWorld::Handle {
  std::shared_ptr<Board> board;
  int rank = 0, place = 0;
  size_t calls = 0;
  std::function<void()> not_on_stream;  // of the call under way
  bool finalized = false, aborted = false, destroyed = false;
};

namespace {

Bytes size_of(NcclType type) {
  return type == NcclType::kFp64 ? 8 : type == NcclType::kFp32 ? 4 : 2;
}

bool is_message(NcclVerb verb) { return verb == NcclVerb::kSend || verb == NcclVerb::kReceive; }

std::string kind_of(const NcclCall& call) {
  NcclCall kind = call;
  kind.elements = 0;
  if (is_message(kind.verb)) kind.verb = NcclVerb::kSend;
  return to_string(kind);
}

double load(const void* data, NcclType type, int64_t i) {
  switch (type) {
    case NcclType::kFp32:
      return static_cast<const float*>(data)[i];
    case NcclType::kFp64:
      return static_cast<const double*>(data)[i];
    case NcclType::kBf16:
      return wide(static_cast<const uint16_t*>(data)[i]);
  }
  return 0;
}

void store(void* data, NcclType type, int64_t i, double value) {
  if (type == NcclType::kFp64) static_cast<double*>(data)[i] = value;
  if (type == NcclType::kFp32) static_cast<float*>(data)[i] = static_cast<float>(value);
  if (type == NcclType::kBf16) {
    static_cast<uint16_t*>(data)[i] = narrow(static_cast<float>(value));
  }
}

}  // namespace

// Sums in member order, rounding to fp32 after every term unless the data is wider.
void NcclWorld::perform(const std::vector<Call>& calls) {
  const NcclCall& call = calls[0].call;
  const auto members = static_cast<int64_t>(calls.size());
  const auto combined = [&](int64_t i) {
    double sum = load(calls[0].in, call.type, i);
    for (int64_t m = 1; m < members; ++m) {
      const double next = load(calls[m].in, call.type, i);
      sum = call.op == ReduceOp::kMax ? std::max(sum, next) : sum + next;
      if (call.type != NcclType::kFp64) sum = static_cast<float>(sum);
    }
    return sum;
  };
  const auto bytes = static_cast<size_t>(call.elements * size_of(call.type));
  if (call.verb == NcclVerb::kAllReduce) {
    for (int64_t i = 0; i < call.elements; ++i) {
      const double sum = combined(i);
      for (const Call& member : calls) store(member.out, call.type, i, sum);
    }
  } else if (call.verb == NcclVerb::kReduceScatter) {
    std::vector<double> sums(static_cast<size_t>(call.elements * members));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = combined(static_cast<int64_t>(i));
    for (int64_t m = 0; m < members; ++m) {
      for (int64_t i = 0; i < call.elements; ++i) {
        store(calls[m].out, call.type, i, sums[m * call.elements + i]);
      }
    }
  } else if (call.verb == NcclVerb::kAllGather) {
    for (const Call& to : calls) {
      for (int64_t m = 0; m < members; ++m) {
        char* const part = static_cast<char*>(to.out) + static_cast<size_t>(m) * bytes;
        if (part != calls[m].in) std::memcpy(part, calls[m].in, bytes);
      }
    }
  } else if (call.verb == NcclVerb::kBroadcast) {
    const Call& root = calls[call.root];
    for (const Call& to : calls) {
      if (to.out != root.in) std::memcpy(to.out, root.in, bytes);
    }
  } else {
    const bool first_sends = call.verb == NcclVerb::kSend;
    std::memcpy(calls[first_sends ? 1 : 0].out, calls[first_sends ? 0 : 1].in, bytes);
  }
}

void NcclWorld::meet(Handle* handle, size_t number, const Call& call) {
  std::unique_lock<std::mutex> lock(mutex_);
  Meeting& meeting = handle->board->meetings[number];
  meeting.calls.resize(static_cast<size_t>(handle->board->size));
  meeting.calls[handle->place] = call;
  const bool all = std::all_of(meeting.calls.begin(), meeting.calls.end(),
                               [](const auto& c) { return c.has_value(); });
  if (all) {
    std::vector<Call> calls;
    for (const auto& member : meeting.calls) calls.push_back(*member);
    bool fit = true;
    for (size_t m = 1; m < calls.size(); ++m) {
      const NcclCall &first = calls[0].call, &other = calls[m].call;
      fit = fit && kind_of(first) == kind_of(other) && first.elements == other.elements &&
            (!is_message(first.verb) || first.verb != other.verb);
      if (!fit) mismatches_.push_back(to_string(first) + " met " + to_string(other));
    }
    if (fit) perform(calls);
    meeting.done = true;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return meeting.done || handle->aborted; });
}

class NcclStandIn final : public NcclApi {
 public:
  NcclStandIn(NcclWorld& world, int rank, StreamSource& streams)
      : world_(world), rank_(rank), streams_(streams) {}

  std::string version() override { return "stand-in"; }

  NcclResult get_unique_id(NcclId* id) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    auto board = std::make_shared<NcclWorld::Board>();
    board->number = static_cast<int>(world_.boards_.size());
    world_.boards_.push_back(board);
    // Bytes that are no ordinary floats, as real ids are: a NaN in every word.
    id->bytes.fill(static_cast<char>(0xff));
    std::memcpy(id->bytes.data() + 100, &board->number, sizeof(int));
    return {};
  }

  NcclResult init_rank(NcclHandle* handle, int ranks, const NcclId& id, int rank,
                       int max_ctas) override {
    SW_CHECK_GE(max_ctas, 1, "blocks");
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    int number = 0;
    std::memcpy(&number, id.bytes.data() + 100, sizeof(int));
    auto made = std::make_shared<NcclWorld::Handle>();
    made->board = world_.boards_.at(static_cast<size_t>(number));
    made->board->size = ranks;
    made->rank = rank_;
    made->place = rank;
    world_.handles_.push_back(made);
    *handle = made.get();
    if (world_.faults_.contains(rank_) && world_.faults_[rank_].at_start) {
      return {NcclStatus::kError, "unhandled system error"};
    }
    ++made->board->joined;
    return {NcclStatus::kInProgress, "in progress"};
  }

  NcclResult all_reduce(void* data, int64_t count, NcclType type, ReduceOp op,
                        const NcclPlace& place) override {
    return give({{NcclVerb::kAllReduce, type, count, op, 0}, data, data}, place);
  }
  NcclResult all_gather(const void* mine, void* all, int64_t count, NcclType type,
                        const NcclPlace& place) override {
    return give({{NcclVerb::kAllGather, type, count, ReduceOp::kSum, 0}, mine, all}, place);
  }
  NcclResult reduce_scatter(const void* all, void* mine, int64_t count, NcclType type,
                            const NcclPlace& place) override {
    return give({{NcclVerb::kReduceScatter, type, count, ReduceOp::kSum, 0}, all, mine}, place);
  }
  NcclResult broadcast(void* data, int64_t count, NcclType type, int root,
                       const NcclPlace& place) override {
    return give({{NcclVerb::kBroadcast, type, count, ReduceOp::kSum, root}, data, data}, place);
  }
  NcclResult send(const void* data, int64_t count, NcclType type, int peer,
                  const NcclPlace& place) override {
    SW_CHECK_EQ(peer, 1 - of(place.handle).place, "the other of two");
    return give({{NcclVerb::kSend, type, count, ReduceOp::kSum, 0}, data, nullptr}, place);
  }
  NcclResult receive(void* data, int64_t count, NcclType type, int peer,
                     const NcclPlace& place) override {
    SW_CHECK_EQ(peer, 1 - of(place.handle).place, "the other of two");
    return give({{NcclVerb::kReceive, type, count, ReduceOp::kSum, 0}, nullptr, data}, place);
  }

  NcclResult async_error(NcclHandle handle) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    NcclWorld::Handle& own = of(handle);
    const auto fault = world_.faults_.find(rank_);
    if (fault != world_.faults_.end() && !fault->second.at_start) {
      return {fault->second.status, "remote process exited or there was a network error"};
    }
    const NcclResult in_progress{NcclStatus::kInProgress, "in progress"};
    if (own.board->joined < own.board->size) return in_progress;
    if (own.finalized && own.board->finalized < own.board->size) return in_progress;
    if (own.not_on_stream) {
      own.not_on_stream();
      own.not_on_stream = nullptr;
    }
    return {};
  }

  std::string last_error(NcclHandle) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    return world_.faults_.contains(rank_) ? world_.faults_[rank_].words : "";
  }

  NcclResult finalize(NcclHandle handle) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    of(handle).finalized = true;
    ++of(handle).board->finalized;
    return {NcclStatus::kInProgress, "in progress"};
  }
  NcclResult destroy(NcclHandle handle) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    SW_CHECK(of(handle).finalized, "destroyed before it was finalized");
    of(handle).destroyed = true;
    return {};
  }
  NcclResult abort(NcclHandle handle) override {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    SW_CHECK(!of(handle).aborted && !of(handle).destroyed, "abort of what is gone");
    of(handle).aborted = true;
    ++world_.aborted_;
    world_.changed_.notify_all();
    return {};
  }

 private:
  static NcclWorld::Handle& of(NcclHandle handle) {
    return *static_cast<NcclWorld::Handle*>(handle);
  }

  // Non-blocking to the last: the call reaches its stream only when async_error() has been asked.
  NcclResult give(const NcclWorld::Call& call, const NcclPlace& place) {
    const std::lock_guard<std::mutex> lock(world_.mutex_);
    NcclWorld::Handle* const own = &of(place.handle);
    if (own->not_on_stream || own->finalized || own->board->joined < own->board->size) {
      return {NcclStatus::kError, "invalid usage"};
    }
    RecordedCall record;
    record.what = kind_of(call.call);
    record.bytes = call.call.elements * size_of(call.call.type);
    record.sends = call.call.verb == NcclVerb::kSend;
    record.stream = place.stream;
    record.instruction = streams_.current_instruction();
    record.communicator = own->board->number;
    world_.calls_.at(static_cast<size_t>(rank_)).push_back(record);
    StandInStream* const stream = static_cast<StandInStream*>(place.stream);
    const size_t number = own->calls++;
    own->not_on_stream = [&world = world_, own, number, call, stream] {
      stream->give([&world, own, number, call] { world.meet(own, number, call); });
    };
    return {NcclStatus::kInProgress, "in progress"};
  }

  NcclWorld& world_;
  const int rank_;
  StreamSource& streams_;
};

std::shared_ptr<NcclApi> NcclWorld::api(int rank, StreamSource& streams) {
  return std::make_shared<NcclStandIn>(*this, rank, streams);
}

std::vector<RecordedCall> NcclWorld::calls(int rank) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return calls_.at(static_cast<size_t>(rank));
}

int NcclWorld::communicators() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(boards_.size());
}

int NcclWorld::open_handles() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(std::count_if(handles_.begin(), handles_.end(), [](const auto& handle) {
    return !handle->aborted && !handle->destroyed;
  }));
}

int NcclWorld::aborted_handles() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return aborted_;
}

std::vector<std::string> NcclWorld::mismatches() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return mismatches_;
}

void NcclWorld::refuse_start(int rank, const std::string& words) {
  const std::lock_guard<std::mutex> lock(mutex_);
  faults_[rank] = {true, NcclStatus::kError, words};
}

void NcclWorld::break_link(int rank, NcclStatus status, const std::string& words) {
  const std::lock_guard<std::mutex> lock(mutex_);
  faults_[rank] = {false, status, words};
}

}  // namespace shardwright::testing
