#include "executor/comm/staged_comm.h"

#include <map>
#include <string>
#include <vector>

#include "executor/comm/staged_group.h"

namespace shardwright {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(Communicator& host, Ops& ops)
      : host_(host),
        ops_(ops),
        staging_(ops),
        backend_(std::string("staged over ") + host.backend()) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const char* backend() const override { return backend_.c_str(); }

  Group& group(const std::vector<int>& members) override {
    auto& group = groups_[members];
    if (!group) group = std::make_unique<StagedGroup>(host_.group(members), ops_, staging_);
    return *group;
  }

  void connect(std::span<const Route> routes) override { host_.connect(routes); }
  Communicator& host() override { return host_; }
  void check_peers() override { host_.check_peers(); }

  Timing send(const void* data, int64_t elements, DataType type, int peer, int channel) override {
    Timing timing;
    timing.start_ns = ops_.lanes().stamp();
    float* const values = staging_.floats(elements);
    staging_.download(values, data, elements, type);
    host_.send(values, elements, peer, channel);
    timing.end_ns = ops_.lanes().stamp();
    return timing;
  }

  Timing receive(void* data, int64_t elements, DataType type, int peer, int channel) override {
    Timing timing;
    timing.start_ns = ops_.lanes().stamp();
    float* const values = staging_.floats(elements);
    host_.receive(values, elements, peer, channel);
    staging_.upload(data, values, elements, type);
    timing.end_ns = ops_.lanes().stamp();
    return timing;
  }

 private:
  Communicator& host_;
  Ops& ops_;
  Staging staging_;
  const std::string backend_;
  std::map<std::vector<int>, std::unique_ptr<StagedGroup>> groups_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(Communicator& host, Ops& ops) {
  return std::make_unique<StagedCommunicator>(host, ops);
}

}  // namespace shardwright
