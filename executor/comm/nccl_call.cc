#include "executor/comm/nccl_call.h"

namespace shardwright {
namespace {

const char* name_of(NcclVerb verb) {
  switch (verb) {
    case NcclVerb::kAllReduce:
      return "all_reduce";
    case NcclVerb::kAllGather:
      return "all_gather";
    case NcclVerb::kReduceScatter:
      return "reduce_scatter";
    case NcclVerb::kBroadcast:
      return "broadcast";
    case NcclVerb::kSend:
      return "send";
    case NcclVerb::kReceive:
      return "receive";
  }
  return "unknown call";
}

const char* name_of(NcclType type) {
  switch (type) {
    case NcclType::kFp32:
      return "fp32";
    case NcclType::kFp64:
      return "fp64";
    case NcclType::kBf16:
      return "bf16";
  }
  return "unknown type";
}

}  // namespace

std::string to_string(const NcclCall& call) {
  std::string text = std::string(name_of(call.verb)) + "(";
  if (call.verb == NcclVerb::kAllReduce) text += call.op == ReduceOp::kSum ? "sum, " : "max, ";
  text += std::to_string(call.elements) + " elements of " + name_of(call.type);
  if (call.verb == NcclVerb::kBroadcast) text += " from member " + std::to_string(call.root);
  return text + ")";
}

}  // namespace shardwright
