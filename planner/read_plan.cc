#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "planner/legality.h"
#include "planner/plan_fields.h"
#include "planner/plan_json.h"

namespace shardwright {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max() / 8;
constexpr double kMaxNumber = 1e30;

std::optional<Error> read_input(const Json& json, const std::string& file,
                                const std::string& prefix, InputFile* out) {
  Fields fields(json, file, prefix);
  out->source = fields.text("source");
  out->digest = fields.text("digest");
  return fields.finish();
}

std::optional<Error> read_inputs(const Json& json, const std::string& file, PlanFile* out) {
  Fields fields(json, file, "inputs.");
  const Json& model = fields.object("model");
  const Json& cluster = fields.object("cluster");
  if (auto error = fields.finish()) return error;
  if (auto error = read_input(model, file, "inputs.model.", &out->model)) return error;
  return read_input(cluster, file, "inputs.cluster.", &out->cluster);
}

// Values of a fixed list of names.
template <typename Kind, typename Parse>
Kind read_kind(Fields& fields, const char* key, const char* expected, Parse&& parse) {
  Kind kind{};
  const std::string name = fields.text(key);
  if (!fields.error() && !parse(name, &kind)) {
    fields.fail(key, '"' + printable(name) + '"', expected);
  }
  return kind;
}

bool parse_optimizer(const std::string& name, OptimizerKind* out) {
  *out = name == name_of(OptimizerKind::kSgd) ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  return name == name_of(*out);
}

Plan read_choices(Fields& fields) {
  Plan plan;
  plan.dp = fields.integer("dp", 1, kMaxDevices);
  plan.tp = fields.integer("tp", 1, kMaxDevices);
  plan.pp = fields.integer("pp", 1, kMaxDevices);
  plan.micro_batch = fields.integer("micro_batch", 1, kMaxSize);
  plan.global_batch = fields.integer("global_batch", 1, kMaxSize);
  const int64_t microbatches = fields.integer("microbatches", 1, kMaxSize);
  plan.seq = fields.integer("seq", 1, kMaxSize);
  plan.schedule =
      read_kind<ScheduleKind>(fields, "schedule", schedule_names().c_str(), parse_schedule);
  plan.recompute =
      read_kind<Recompute>(fields, "recompute", "none, full or selective", parse_recompute);
  plan.precision = read_kind<DataType>(fields, "precision", "a data type", parse_data_type);
  plan.optimizer = read_kind<OptimizerKind>(fields, "optimizer", "adamw or sgd", parse_optimizer);
  plan.stage_layers = fields.integers("stage_layers", 0, kMaxSize);
  read_further_choices(&fields, &plan);
  if (fields.error()) return plan;
  const int64_t block = plan.dp * plan.micro_batch;
  if (!plan.replica_batches.empty()) {
    if (plan.microbatches() != microbatches) {
      fields.fail(
          "microbatches", std::to_string(microbatches),
          "those of the largest of replica_batches, " + std::to_string(plan.microbatches()));
    }
  } else if (plan.global_batch % block != 0 || plan.global_batch / block != microbatches) {
    fields.fail("microbatches", std::to_string(microbatches),
                "global_batch " + std::to_string(plan.global_batch) + " / (dp " +
                    std::to_string(plan.dp) + " * micro_batch " + std::to_string(plan.micro_batch) +
                    ")");
  }
  if (static_cast<int64_t>(plan.stage_layers.size()) != plan.pp * plan.virtual_stages) {
    fields.fail("stage_layers", std::to_string(plan.stage_layers.size()) + " entries",
                "one for each of pp " + std::to_string(plan.pp) + " stages" +
                    (plan.virtual_stages > 1
                         ? " times virtual_stages " + std::to_string(plan.virtual_stages)
                         : ""));
  }
  return plan;
}

StageMemory read_stage(Fields& fields) {
  StageMemory stage;
  stage.layers = fields.integer("layers", 1, kMaxSize);
  stage.parameters = fields.integer("parameters_bytes", 0, kMaxBytes);
  stage.gradients = fields.integer("gradients_bytes", 0, kMaxBytes);
  stage.optimizer = fields.integer("optimizer_bytes", 0, kMaxBytes);
  stage.scratch = fields.integer("scratch_bytes", 0, kMaxBytes);
  stage.activations = fields.integer("activations_bytes", 0, kMaxBytes);
  const Bytes peak = fields.integer("peak_bytes", 0, std::numeric_limits<int64_t>::max());
  stage.available = fields.integer("available_bytes", 0, kMaxBytes);
  if (!fields.error() && peak != stage.peak()) {
    fields.fail("peak_bytes", std::to_string(peak),
                "the sum of its parts, " + std::to_string(stage.peak()));
  }
  return stage;
}

TimeParts read_parts(Fields& fields) {
  TimeParts parts;
  parts.stage = fields.integer("stage", 0, kMaxDevices);
  parts.compute_s = fields.number("compute_s", 0, kMaxNumber);
  parts.tp_s = fields.number("tp_s", 0, kMaxNumber);
  parts.pp_s = fields.number("pp_s", 0, kMaxNumber);
  parts.dp_s = fields.number("dp_s", 0, kMaxNumber);
  parts.optimizer_s = fields.number("optimizer_s", 0, kMaxNumber);
  return parts;
}

std::optional<Error> read_prediction(const Json& json, const std::string& file, const Plan& plan,
                                     Prediction* out) {
  const std::string prefix = "predicted.";
  Fields fields(json, file, prefix);
  out->step_time_s = fields.number("step_time_s", 0, kMaxNumber);
  out->tokens_per_s = fields.number("tokens_per_s", 0, kMaxNumber);
  out->bubble_share = fields.number("bubble_share", 0, 1);
  out->memory_peak_bytes = fields.integer("memory_peak_bytes", 0, kMaxBytes);
  Fields parts(fields.object("time_parts"), file, prefix + "time_parts.");
  const Json& stages = fields.array("stages");
  if (auto error = fields.finish()) return error;
  out->parts = read_parts(parts);
  if (auto error = parts.finish()) return error;
  if (static_cast<int64_t>(stages.size()) != plan.pp) {
    return Error{file, prefix + "stages", quote(stages),
                 "one for each of pp " + std::to_string(plan.pp) + " stages"};
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    Fields stage(stages[i], file, prefix + "stages[" + std::to_string(i) + "].");
    out->stages.push_back(read_stage(stage));
    if (auto error = stage.finish()) return error;
  }
  return std::nullopt;
}

// What is written down besides, although it follows from the degrees.
std::optional<Error> check_derived(const Json& json, const std::string& file, int64_t ranks,
                                   const Plan& plan) {
  // The product in parts: each pair of degrees stays within 64 bits.
  const int64_t blocks = plan.dp * plan.tp;
  if (ranks % blocks != 0 || ranks / blocks % plan.split.cp != 0 ||
      ranks / blocks / plan.split.cp != plan.pp) {
    return Error{file, "ranks", std::to_string(ranks),
                 "dp " + std::to_string(plan.dp) + " * tp " + std::to_string(plan.tp) + " * pp " +
                     std::to_string(plan.pp)};
  }
  if (json["groups"] != groups_json(plan)) {
    return Error{file, "groups", "other ranks",
                 "the groups of dp " + std::to_string(plan.dp) + ", tp " + std::to_string(plan.tp) +
                     ", pp " + std::to_string(plan.pp)};
  }
  return std::nullopt;
}

}  // namespace

Result<PlanFile> read_plan(const Json& json, const std::string& file) {
  Fields top(json, file);
  const std::string schema = top.text("schema");
  if (!top.error() && schema != "shardwright.plan/1") {
    top.fail("schema", '"' + printable(schema) + '"', "\"shardwright.plan/1\"");
  }
  const Json& inputs = top.object("inputs");
  const std::string stack = top.text_or("stack", "");
  const int64_t ranks = top.integer("ranks", 1, kMaxDevices);
  const Json* limits = top.has("limits") ? &top.object("limits") : nullptr;
  Fields choices(top.object("plan"), file, "plan.");
  top.object("groups");
  const Json& predicted = top.object("predicted");
  if (auto error = top.finish()) return *error;
  PlanFile out;
  out.stack = stack;
  if (auto error = read_inputs(inputs, file, &out)) return *error;
  if (limits != nullptr) {
    Result<PlanLimits> read = read_limits(*limits, file, "limits.");
    if (!read) return read.error();
    out.limits = *std::move(read);
  }
  out.plan = read_choices(choices);
  if (auto error = choices.finish()) return *error;
  if (auto error = check_derived(json, file, ranks, out.plan)) return *error;
  if (auto error = read_prediction(predicted, file, out.plan, &out.predicted)) return *error;
  return out;
}

}  // namespace shardwright
