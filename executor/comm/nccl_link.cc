#include "executor/comm/nccl_link.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <future>
#include <thread>

#include "costmodel/check.h"
#include "executor/comm/collective_call.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

// Between two looks at a wait that has become long.
constexpr std::chrono::microseconds kNap{20};
// How long a failing rank waits for its communicators to end before it reports all the same.
constexpr std::chrono::seconds kAbortLimit{10};

}  // namespace

NcclLink::NcclLink(NcclParts parts)
    : parts_(std::move(parts)),
      backend_("nccl " + parts_.api->version()),
      exceptions_at_start_(std::uncaught_exceptions()) {
  parts_.streams.set_watch(this);
}

NcclLink::~NcclLink() {
  parts_.streams.set_watch(nullptr);
  if (failed_) return;
  std::uncaught_exceptions() > exceptions_at_start_ ? abort_all() : close_all();
}

NcclChannel& NcclLink::open(const std::vector<int>& members, int index, int max_ctas,
                            const std::string& name) {
  const std::string where = "start of NCCL for " + name;
  check_usable(where);
  const NcclId id = share_id(members, index, where);
  NcclChannel& channel = *channels_.emplace_back(std::make_unique<NcclChannel>());
  channel.name = name;
  const NcclResult result =
      parts_.api->init_rank(&channel.handle, static_cast<int>(members.size()), id, index, max_ctas);
  settle(channel, result, [&] { return where; });
  return channel;
}

// The first member makes the id; the host communicator moves floats, so it travels as their bits.
// When this returns, all members are about to start the same communicator.
NcclId NcclLink::share_id(const std::vector<int>& members, int index, const std::string& where) {
  NcclId id;
  if (index == 0) {
    check(parts_.api->get_unique_id(&id), nullptr, [&] { return where; });
  }
  std::array<float, sizeof(NcclId) / sizeof(float)> carrier;
  std::memcpy(carrier.data(), id.bytes.data(), sizeof(id));
  std::vector<int> ascending = members;
  std::sort(ascending.begin(), ascending.end());
  const auto first = std::find(ascending.begin(), ascending.end(), members[0]);
  parts_.host.group(ascending).broadcast(carrier.data(), static_cast<int64_t>(carrier.size()),
                                         static_cast<int>(first - ascending.begin()));
  std::memcpy(id.bytes.data(), carrier.data(), sizeof(id));
  return id;
}

Timing NcclLink::run(NcclChannel& channel, const NcclCall& call, const Enqueue& enqueue) {
  const Where where = [&] { return to_string(call) + " on " + channel.name; };
  if (failed_) check_usable(where());
  note(channel, call);
  Timing timing;
  timing.start_ns = now();
  settle(channel, enqueue(*parts_.api, {channel.handle, parts_.streams.current_stream()}), where);
  timing.end_ns = now();
  return timing;
}

int64_t NcclLink::now() {
  return parts_.streams.current_instruction() >= 0 ? parts_.ops.lanes().stamp() : monotonic_ns();
}

void NcclLink::await_idle(NcclChannel& channel, const NcclCall& call) {
  const Where where = [&] { return to_string(call) + " on " + channel.name; };
  const auto done = [&] {
    check(parts_.api->async_error(channel.handle), &channel, where);
    return parts_.streams.idle();
  };
  wait_until(done, where, "the device has not finished it");
}

void NcclLink::note(const NcclChannel& channel, const NcclCall& call) {
  if (step_over_) issued_.clear();
  step_over_ = false;
  const int instruction = parts_.streams.current_instruction();
  if (instruction >= 0) issued_.push_back({instruction, &channel, call});
}

void NcclLink::settle(NcclChannel& channel, NcclResult result, const Where& where) {
  const auto done = [&] {
    check(result, &channel, where);
    if (result.status == NcclStatus::kSuccess) return true;
    result = parts_.api->async_error(channel.handle);
    return false;
  };
  wait_until(done, where, "NCCL is still connecting; not all members have come");
}

void NcclLink::wait_until(const std::function<bool()>& done, const Where& where,
                          const std::string& late) {
  Wait wait(parts_.deadline, false);
  while (!done()) {
    const Wait::Next next = wait.pause();
    if (next == Wait::Next::kAgain) continue;
    if (next == Wait::Next::kLate) {
      fail(where(), "deadline: " + late + " after " + in_milliseconds(wait.elapsed()));
    }
    check_peers(where);
    std::this_thread::sleep_for(kNap);
  }
}

void NcclLink::poll(const StepProgress& progress) {
  if (failed_) check_usable("wait for the step");
  const Where where = [&] { return describe(progress.unfinished); };
  for (const auto& channel : channels_) {
    check(parts_.api->async_error(channel->handle), channel.get(), where);
  }
  check_peers(where);
  if (progress.idle > parts_.deadline) {
    fail(where(), "deadline: the device has finished nothing for " +
                      in_milliseconds(progress.idle) +
                      "; a peer has not come to the same call, or the link to it is down");
  }
}

void NcclLink::check_peers(const Where& where) {
  try {
    parts_.host.check_peers();
  } catch (const PeerFailed& error) {
    fail(where(), error.reason(), true);
  }
}

void NcclLink::check(NcclResult result, const NcclChannel* channel, const Where& where) {
  if (result.status == NcclStatus::kSuccess || result.status == NcclStatus::kInProgress) return;
  std::string what = std::string("NCCL: ") + result.text;
  const std::string more = parts_.api->last_error(channel == nullptr ? nullptr : channel->handle);
  if (!more.empty()) what += " (" + more + ")";
  if (channel != nullptr) what += " on " + channel->name;
  fail(where(), what + "; NCCL_DEBUG=INFO says more", result.status == NcclStatus::kRemoteError);
}

void NcclLink::check_usable(const std::string& where) const {
  if (failed_) throw ExecError(rank(), where, "not possible after the earlier failure");
}

void NcclLink::fail(const std::string& where, const std::string& what, bool remote) {
  failed_ = true;
  abort_all();
  if (remote) throw PeerFailed(rank(), where, what);
  throw ExecError(rank(), where, what);
}

// The calls of the instructions that have not finished: what this rank waits in.
std::string NcclLink::describe(std::span<const int> unfinished) const {
  std::string text;
  for (const int instruction : unfinished) {
    for (const Issued& issued : issued_) {
      if (issued.instruction != instruction) continue;
      if (!text.empty()) text += ", and ";
      text += "instruction " + std::to_string(instruction) + ": " + to_string(issued.call) +
              " on " + issued.channel->name;
      break;  // the first stands for all of the instruction
    }
  }
  return text.empty() ? "wait for the step" : text;
}

// Finalizing may wait for the other members: all are asked before any is awaited, so that the
// order does not matter.
void NcclLink::close_all() {
  NcclApi& api = *parts_.api;
  for (const auto& channel : channels_) api.finalize(channel->handle);
  Wait wait(parts_.deadline, false);
  for (const auto& channel : channels_) {
    while (api.async_error(channel->handle).status == NcclStatus::kInProgress) {
      const Wait::Next next = wait.pause();
      if (next == Wait::Next::kLate || peer_failed()) return abort_all();
      if (next == Wait::Next::kSleep) std::this_thread::sleep_for(kNap);
    }
  }
  for (const auto& channel : channels_) api.destroy(channel->handle);
  channels_.clear();
}

bool NcclLink::peer_failed() {
  try {
    parts_.host.check_peers();
  } catch (const PeerFailed&) {
    return true;
  }
  return false;
}

// Each on a thread of its own: freeing the memory of one communicator waits for the device, where a
// kernel of another may be stuck until that one is ended too.
void NcclLink::abort_all() {
  std::vector<std::future<void>> ends;
  for (const auto& channel : channels_) {
    if (channel->handle == nullptr) continue;
    std::packaged_task<void()> task(
        [api = parts_.api, handle = channel->handle] { api->abort(handle); });
    ends.push_back(task.get_future());
    std::thread(std::move(task)).detach();
    channel->handle = nullptr;
  }
  const auto until = std::chrono::steady_clock::now() + kAbortLimit;
  for (auto& end : ends) end.wait_until(until);
}

}  // namespace shardwright
