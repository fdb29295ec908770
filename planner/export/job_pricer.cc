#include "planner/export/job_pricer.h"

#include <algorithm>
#include <cmath>

#include "costmodel/stack.h"
#include "planner/intervals.h"
#include "planner/search/stack_simulation.h"

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

std::string number(double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, "%.4g %s", value, unit);
  return text;
}

}  // namespace

const char* usual_stack(Framework framework) {
  switch (framework) {
    case Framework::kMegatron:
    case Framework::kNemo:
      return "megatron-core-2026";
    case Framework::kTorchtitan:
      return "torchtitan-compiled";
    case Framework::kFsdp:
      // The published FSDP runs that are not torchtitan's own are read with its eager stack too.
      return "torchtitan";
    case Framework::kDeepSpeed:
      return "deepspeed-2026";
  }
  return "";
}

JobSoftware exported_software(Framework framework, const Plan& plan) {
  JobSoftware software;
  software.stack = usual_stack(framework);
  switch (framework) {
    case Framework::kMegatron:
    case Framework::kNemo:
      software.memory_stack = plan.gradient_type == DataType::kFp32 ? "megatron-core" : "nemo";
      software.fused_loss = true;
      software.node_dispatch = plan.split.ep * plan.split.expert_tp(plan.tp) > 1;
      break;
    case Framework::kTorchtitan:
    case Framework::kFsdp:
      software.memory_stack = "torch-fsdp";
      break;
    case Framework::kDeepSpeed:
      software.memory_stack = "megatron-deepspeed";
      break;
  }
  return software;
}

const RankMemory& JobPrediction::fullest() const {
  return *std::max_element(stages.begin(), stages.end(),
                           [](const RankMemory& a, const RankMemory& b) {
                             return a.allocated_bytes < b.allocated_bytes;
                           });
}

Result<JobPricer> JobPricer::create(const ModelSpec& model, const ClusterSpec& cluster,
                                    const JobSoftware& software, const std::string& profiles_dir) {
  Result<Stack> stack = load_stack(software.stack, profiles_dir);
  if (!stack) return stack.error();
  Result<MemoryStack> memory = load_memory_stack(software.memory_stack, profiles_dir);
  if (!memory) return memory.error();
  JobPricer pricer;
  pricer.memory_ = *memory;
  const Knowledge knowledge = knowledge_of(*stack);
  Kernels& kernels = stack->kernels;
  kernels.flash_attention = software.flash.value_or(kernels.flash_attention);
  kernels.fused_loss = software.fused_loss.value_or(kernels.fused_loss);
  kernels.node_dispatch = software.node_dispatch.value_or(kernels.node_dispatch);
  pricer.software_ =
      std::make_unique<Software>(model, cluster, *std::move(stack), *std::move(memory));
  const Result<IntervalTable> intervals = load_intervals(profiles_dir);
  const bool moe = model.kinds.back().moe.experts > 0;
  if (intervals) {
    if (const Interval* interval = find_interval(*intervals, knowledge, moe)) {
      pricer.has_interval_ = true;
      pricer.low_ = interval->low;
      pricer.high_ = interval->high;
    }
  }
  return pricer;
}

double JobPricer::step_s(const Plan& plan) { return estimate_walked(*software_, plan).step_s; }

JobPrediction JobPricer::predict(const Plan& plan) {
  JobPrediction out;
  out.time = estimate_walked(*software_, plan);
  if (has_interval_) {
    out.low_s = out.time.step_s * std::exp(low_);
    out.high_s = out.time.step_s * std::exp(high_);
  }
  const Kernels& kernels = software_->stack().kernels;
  const MemoryContext context{software_->model_for(plan.tp),
                              memory_,
                              {.flash = kernels.flash_attention, .fused_loss = kernels.fused_loss}};
  RankMemoryModel model(context);
  for (int64_t stage = 0; stage < plan.pp; ++stage) out.stages.push_back(model.stage(plan, stage));
  out.device_bytes = static_cast<double>(software_->available());
  return out;
}

std::string prediction_line(const JobPrediction& predicted, const JobSoftware& software) {
  return number(predicted.time.step_s, "s a step, ") +
         number(predicted.fullest().device_bytes / kGib, "GiB of ") +
         number(predicted.device_bytes / kGib, "GiB on the fullest rank") + " (time as stack " +
         software.stack + ", memory as " + software.memory_stack + ")";
}

}  // namespace shardwright
