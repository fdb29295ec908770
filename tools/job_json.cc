#include "tools/job_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

Json to_json(const EstimateParts& parts) {
  return {{"compute_s", parts.compute},
          {"tensor_s", parts.tensor},
          {"context_s", parts.context},
          {"experts_s", parts.experts},
          {"sharding_s", parts.sharding},
          {"host_s", parts.host},
          {"bubble_s", parts.bubble},
          {"gradients_s", parts.gradients},
          {"parameters_s", parts.parameters},
          {"optimizer_s", parts.optimizer},
          {"fixed_s", parts.fixed}};
}

Json bytes(double value) { return static_cast<int64_t>(std::llround(value)); }

Json to_json(const RankMemory& memory) {
  Json json = {{"stage", memory.stage},
               {"phase", memory.phase},
               {"allocated_bytes", bytes(memory.allocated_bytes)},
               {"reserved_bytes", bytes(memory.reserved_bytes)},
               {"device_bytes", bytes(memory.device_bytes)}};
  for (const MemoryPart& part : memory.parts) json["parts"][part.name] = bytes(part.bytes);
  return json;
}

}  // namespace

Json to_json(const JobPrediction& predicted, const JobSoftware& software) {
  Json json = {{"stack", software.stack},
               {"memory_stack", software.memory_stack},
               {"step_time_s", predicted.time.step_s}};
  if (predicted.low_s) json["step_time_low_s"] = *predicted.low_s;
  if (predicted.high_s) json["step_time_high_s"] = *predicted.high_s;
  json["time_parts"] = to_json(predicted.time.parts);
  json["fits"] = predicted.fits();
  json["device_memory_bytes"] = bytes(predicted.device_bytes);
  json["stages"] = Json::array();
  for (const RankMemory& stage : predicted.stages) json["stages"].push_back(to_json(stage));
  return json;
}

}  // namespace shardwright
