#include "executor/comm/nccl_comm.h"

#include <algorithm>
#include <map>
#include <vector>

#include "costmodel/check.h"
#include "executor/comm/collective_call.h"
#include "executor/comm/nccl_group.h"

namespace shardwright {
namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(NcclParts parts, NcclLimits limits) : link_(std::move(parts)), limits_(limits) {}

  int rank() const override { return link_.rank(); }
  int size() const override { return link_.size(); }
  const char* backend() const override { return link_.backend().c_str(); }

  Group& group(const std::vector<int>& members) override {
    const int index = checked_index(members, rank(), size());
    auto& group = groups_[members];
    if (!group) group = std::make_unique<NcclGroup>(members, index, limits_.group_ctas, link_);
    return *group;
  }

  // Ascending on every rank: of all routes still to be made, the two ends of the least one have
  // come to it, so no two ranks can wait for each other.
  void connect(std::span<const Route> routes) override {
    std::vector<Route> sorted(routes.begin(), routes.end());
    std::sort(sorted.begin(), sorted.end());
    for (const Route& route : sorted) {
      if (!routes_.contains(route)) open(route);
    }
  }

  Timing send(const void* data, int64_t elements, DataType type, int peer, int channel) override {
    const NcclType wire = nccl_type(type);
    return link_.run(channel_of({rank(), peer, channel}), message(NcclVerb::kSend, wire, elements),
                     [&](NcclApi& api, const NcclPlace& place) {
                       return api.send(data, elements, wire, kReceiver, place);
                     });
  }

  Timing receive(void* data, int64_t elements, DataType type, int peer, int channel) override {
    const NcclType wire = nccl_type(type);
    return link_.run(channel_of({peer, rank(), channel}),
                     message(NcclVerb::kReceive, wire, elements),
                     [&](NcclApi& api, const NcclPlace& place) {
                       return api.receive(data, elements, wire, kSender, place);
                     });
  }

  Communicator& host() override { return link_.host(); }
  void check_peers() override { link_.host().check_peers(); }

 private:
  // Places in the communicator of a route.
  static constexpr int kSender = 0, kReceiver = 1;

  static NcclCall message(NcclVerb verb, NcclType type, int64_t elements) {
    return {verb, type, elements, ReduceOp::kSum, 0};
  }

  NcclChannel& channel_of(const Route& route) {
    const auto found = routes_.find(route);
    SW_CHECK(found != routes_.end(), "no route from rank " << route.from << " to " << route.to
                                                           << " on channel " << route.channel
                                                           << "; connect() makes them");
    return *found->second;
  }

  void open(const Route& route) {
    SW_CHECK(route.from != route.to && (route.from == rank() || route.to == rank()),
             "rank " << rank() << " on a route from " << route.from << " to " << route.to);
    const bool sends = route.from == rank();
    NcclChannel& channel =
        link_.open({route.from, route.to}, sends ? kSender : kReceiver, limits_.message_ctas,
                   "route " + std::to_string(route.from) + " -> " + std::to_string(route.to) +
                       " on channel " + std::to_string(route.channel));
    routes_[route] = &channel;
    float* const value = link_.ops().allocate_floats(1);
    link_.ops().zero(value, sizeof(float));
    sends ? send(value, 1, DataType::kFp32, route.to, route.channel)
          : receive(value, 1, DataType::kFp32, route.from, route.channel);
    link_.await_idle(channel,
                     message(sends ? NcclVerb::kSend : NcclVerb::kReceive, NcclType::kFp32, 1));
    link_.ops().free(value);
  }

  NcclLink link_;  // first: the others use it until they are gone
  const NcclLimits limits_;
  std::map<std::vector<int>, std::unique_ptr<NcclGroup>> groups_;
  std::map<Route, NcclChannel*> routes_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::shared_ptr<NcclApi> api,
                                                     Communicator& host, Ops& ops,
                                                     StreamSource& streams,
                                                     std::chrono::nanoseconds deadline,
                                                     NcclLimits limits) {
  SW_CHECK(api != nullptr, "a build without NCCL");
  return std::make_unique<NcclCommunicator>(NcclParts{std::move(api), host, ops, streams, deadline},
                                            limits);
}

}  // namespace shardwright
