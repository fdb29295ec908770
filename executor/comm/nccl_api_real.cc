#include <nccl.h>

#include "costmodel/check.h"
#include "executor/comm/nccl_api.h"

namespace shardwright {
namespace {

static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 18, 1), "maxCTAs and finalize are used");
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

NcclResult result_of(ncclResult_t code) {
  switch (code) {
    case ncclSuccess:
      return {};
    case ncclInProgress:
      return {NcclStatus::kInProgress, ncclGetErrorString(code)};
    case ncclRemoteError:
      return {NcclStatus::kRemoteError, ncclGetErrorString(code)};
    default:
      return {NcclStatus::kError, ncclGetErrorString(code)};
  }
}

ncclDataType_t type_of(NcclType type) {
  switch (type) {
    case NcclType::kFp32:
      return ncclFloat32;
    case NcclType::kFp64:
      return ncclFloat64;
    case NcclType::kBf16:
      return ncclBfloat16;
  }
  SW_CHECK(false, "NcclType " << static_cast<int>(type));
}

ncclComm_t comm_of(NcclHandle handle) { return static_cast<ncclComm_t>(handle); }
ncclComm_t comm_of(const NcclPlace& place) { return comm_of(place.handle); }
cudaStream_t stream_of(const NcclPlace& place) { return static_cast<cudaStream_t>(place.stream); }

class RealNccl final : public NcclApi {
 public:
  std::string version() override {
    int code = 0;
    if (ncclGetVersion(&code) != ncclSuccess) return "unknown";
    // major * 10000 + minor * 100 + patch, see NCCL_VERSION in nccl.h.
    return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." +
           std::to_string(code % 100);
  }

  NcclResult get_unique_id(NcclId* id) override {
    ncclUniqueId unique;
    const NcclResult result = result_of(ncclGetUniqueId(&unique));
    std::copy(std::begin(unique.internal), std::end(unique.internal), id->bytes.begin());
    return result;
  }

  NcclResult init_rank(NcclHandle* handle, int ranks, const NcclId& id, int rank,
                       int max_ctas) override {
    ncclUniqueId unique;
    std::copy(id.bytes.begin(), id.bytes.end(), std::begin(unique.internal));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.maxCTAs = max_ctas;
    ncclComm_t comm = nullptr;
    const ncclResult_t code = ncclCommInitRankConfig(&comm, ranks, unique, rank, &config);
    *handle = comm;
    return result_of(code);
  }

  NcclResult all_reduce(void* data, int64_t count, NcclType type, ReduceOp op,
                        const NcclPlace& place) override {
    return result_of(ncclAllReduce(data, data, static_cast<size_t>(count), type_of(type),
                                   op == ReduceOp::kSum ? ncclSum : ncclMax, comm_of(place),
                                   stream_of(place)));
  }

  NcclResult all_gather(const void* mine, void* all, int64_t count, NcclType type,
                        const NcclPlace& place) override {
    return result_of(ncclAllGather(mine, all, static_cast<size_t>(count), type_of(type),
                                   comm_of(place), stream_of(place)));
  }

  NcclResult reduce_scatter(const void* all, void* mine, int64_t count, NcclType type,
                            const NcclPlace& place) override {
    return result_of(ncclReduceScatter(all, mine, static_cast<size_t>(count), type_of(type),
                                       ncclSum, comm_of(place), stream_of(place)));
  }

  NcclResult broadcast(void* data, int64_t count, NcclType type, int root,
                       const NcclPlace& place) override {
    return result_of(ncclBroadcast(data, data, static_cast<size_t>(count), type_of(type), root,
                                   comm_of(place), stream_of(place)));
  }

  NcclResult send(const void* data, int64_t count, NcclType type, int peer,
                  const NcclPlace& place) override {
    return result_of(ncclSend(data, static_cast<size_t>(count), type_of(type), peer, comm_of(place),
                              stream_of(place)));
  }

  NcclResult receive(void* data, int64_t count, NcclType type, int peer,
                     const NcclPlace& place) override {
    return result_of(ncclRecv(data, static_cast<size_t>(count), type_of(type), peer, comm_of(place),
                              stream_of(place)));
  }

  NcclResult async_error(NcclHandle handle) override {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t code = ncclCommGetAsyncError(comm_of(handle), &state);
    return result_of(code == ncclSuccess ? state : code);
  }

  std::string last_error(NcclHandle handle) override {
    const char* text = ncclGetLastError(comm_of(handle));
    return text == nullptr ? "" : text;
  }

  NcclResult finalize(NcclHandle handle) override {
    return result_of(ncclCommFinalize(comm_of(handle)));
  }
  NcclResult destroy(NcclHandle handle) override {
    return result_of(ncclCommDestroy(comm_of(handle)));
  }
  NcclResult abort(NcclHandle handle) override { return result_of(ncclCommAbort(comm_of(handle))); }
};

}  // namespace

std::shared_ptr<NcclApi> make_nccl_api() { return std::make_shared<RealNccl>(); }

}  // namespace shardwright
