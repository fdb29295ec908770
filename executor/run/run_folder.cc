#include "executor/run/run_folder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace fs = std::filesystem;

namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Nanoseconds RunSummary::median_makespan() const {
  if (makespans.empty()) return 0;
  std::vector<Nanoseconds> sorted = makespans;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

Json to_json(const RunSummary& summary) {
  return {{"schema", "shardwright.run/1"},
          {"ranks", summary.ranks},
          {"backend", summary.backend},
          {"steps", summary.steps},
          {"tokens_per_step", summary.tokens_per_step},
          {"makespans_ns", summary.makespans}};
}

Result<RunSummary> read_run_summary(const std::string& folder) {
  const std::string file = folder + "/run.json";
  Result<Json> json = read_json_file(file);
  if (!json) return json.error();
  if (!json->is_object()) return Error{file, "", quote(*json), "an object"};
  constexpr int64_t kMost = int64_t{1} << 60;
  RunSummary summary;
  Fields fields(*json, file);
  if (fields.text("schema") != "shardwright.run/1" && !fields.error()) {
    fields.fail("schema", quote((*json)["schema"]), "\"shardwright.run/1\"");
  }
  summary.ranks = fields.integer("ranks", 1, 1 << 24);
  summary.backend = fields.text("backend");
  summary.steps = fields.integer("steps", 1, kMost);
  summary.tokens_per_step = fields.integer("tokens_per_step", 1, kMost);
  summary.makespans = fields.integers("makespans_ns", 0, kMost);
  if (auto error = fields.finish()) return *error;
  return summary;
}

Result<Timeline> read_measured_timeline(const std::string& folder) {
  const std::string file = folder + "/timeline.json";
  Result<Json> json = read_json_file(file);
  if (!json) return json.error();
  if (!json->is_object()) return Error{file, "", quote(*json), "an object"};
  return read_timeline(*json, file);
}

Result<RunFolder> RunFolder::create(const std::string& path, const std::string& plan_text) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) return Error{path, "", code.message(), "a folder that can be written"};
  for (const char* name : {"run.json", "metrics.jsonl"}) {
    if (fs::exists(fs::path(path) / name, code)) {
      return Error{path, "", std::string(name) + " of an earlier run", "an empty folder"};
    }
  }
  if (auto error = write_file_atomically(path + "/plan.json", plan_text)) return *error;
  RunFolder folder(path);
  folder.metrics_.open(path + "/metrics.jsonl");
  if (!folder.metrics_) return Error{path + "/metrics.jsonl", "", "no access", "a writable file"};
  folder.events_.emplace(path, wall_time_s());
  if (!folder.events_->ok()) return Error{path, "", "no access", "a writable folder"};
  return folder;
}

std::optional<Error> RunFolder::add(const StepMetrics& metrics, int64_t tokens_per_step) {
  const Json line = {{"step", metrics.step},
                     {"loss", metrics.loss},
                     {"grad_norm", metrics.grad_norm},
                     {"seconds", metrics.seconds},
                     {"tokens_per_s", static_cast<double>(tokens_per_step) / metrics.seconds}};
  metrics_ << line.dump() << '\n' << std::flush;
  events_->scalars(metrics.step, wall_time_s(),
                   {{"loss", static_cast<float>(metrics.loss)},
                    {"grad_norm", static_cast<float>(metrics.grad_norm)},
                    {"step_seconds", static_cast<float>(metrics.seconds)}});
  if (!metrics_ || !events_->ok())
    return Error{path_ + "/metrics.jsonl", "", "a write that failed", "free space"};
  return std::nullopt;
}

std::optional<Error> RunFolder::finish(const RunSummary& summary, const Timeline& measured) {
  metrics_.close();
  if (auto error =
          write_file_atomically(path_ + "/timeline.json", to_json(measured).dump() + "\n")) {
    return error;
  }
  return write_file_atomically(path_ + "/run.json", to_json(summary).dump(1) + "\n");
}

}  // namespace shardwright
