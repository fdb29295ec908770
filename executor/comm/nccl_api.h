// NcclApi: the few calls of NCCL that are used, one function each. nccl_api_real.cc is the only
// file that sees nccl.h; tests put a stand-in here that records the calls and performs them on host
// memory.
//
// All communicators are non-blocking: a call may return kInProgress, and then nothing is on the
// stream before async_error() says kSuccess. Calls come from the rank's own thread with its device
// current, except abort(), which may come from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "executor/comm/communicator.h"

namespace shardwright {

enum class NcclStatus {
  kSuccess,
  kInProgress,
  kRemoteError,  // another rank or the network to it failed
  kError,
};

struct NcclResult {
  NcclStatus status = NcclStatus::kSuccess;
  const char* text = "";  // what NCCL calls the code; static
};

// What the members of a new communicator must share.
struct NcclId {
  std::array<char, 128> bytes{};
};

enum class NcclType { kFp32, kFp64, kBf16 };

using NcclHandle = void*;  // ncclComm_t

// Where a call goes: a communicator, and the stream (cudaStream_t) it is enqueued on.
struct NcclPlace {
  NcclHandle handle = nullptr;
  void* stream = nullptr;
};

class NcclApi {
 public:
  virtual ~NcclApi() = default;
  virtual std::string version() = 0;  // "2.28.9"
  virtual NcclResult get_unique_id(NcclId* id) = 0;
  // max_ctas: blocks that one call may occupy on the device.
  virtual NcclResult init_rank(NcclHandle* handle, int ranks, const NcclId& id, int rank,
                               int max_ctas) = 0;

  // `count` as in Group and Communicator, in elements.
  virtual NcclResult all_reduce(void* data, int64_t count, NcclType type, ReduceOp op,
                                const NcclPlace& place) = 0;
  virtual NcclResult all_gather(const void* mine, void* all, int64_t count, NcclType type,
                                const NcclPlace& place) = 0;
  virtual NcclResult reduce_scatter(const void* all, void* mine, int64_t count, NcclType type,
                                    const NcclPlace& place) = 0;
  virtual NcclResult broadcast(void* data, int64_t count, NcclType type, int root,
                               const NcclPlace& place) = 0;
  virtual NcclResult send(const void* data, int64_t count, NcclType type, int peer,
                          const NcclPlace& place) = 0;
  virtual NcclResult receive(void* data, int64_t count, NcclType type, int peer,
                             const NcclPlace& place) = 0;

  // State of the communicator: of its last call, or an error that it met since.
  virtual NcclResult async_error(NcclHandle handle) = 0;
  // Human words on the last error, for messages.
  virtual std::string last_error(NcclHandle handle) = 0;

  // finalize, then async_error until it is no longer kInProgress, then destroy.
  virtual NcclResult finalize(NcclHandle handle) = 0;
  virtual NcclResult destroy(NcclHandle handle) = 0;
  // Ends the communicator's calls that still run on the device, and the communicator.
  virtual NcclResult abort(NcclHandle handle) = 0;
};

// Null when this build has no NCCL.
std::shared_ptr<NcclApi> make_nccl_api();

}  // namespace shardwright
