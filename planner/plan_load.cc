#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/hf_config.h"
#include "costmodel/pricer.h"
#include "planner/digest.h"
#include "planner/legality.h"
#include "planner/plan_json.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code ignored;  // what cannot be looked at does not exist for us
  return fs::exists(path, ignored);
}

// `source` itself, unless it is a path that exists only beside the plan.
std::string located(const std::string& source, const std::string& plan_path) {
  const fs::path beside = fs::path(plan_path).parent_path() / source;
  return !is_there(source) && is_there(beside) ? beside.string() : source;
}

std::optional<Error> check_digest(const std::string& name, const std::string& found,
                                  const std::string& expected) {
  if (found == expected) return std::nullopt;
  return Error{printable(name, 1000), "digest", found,
               printable(expected) + " (the plan was made for another file)"};
}

Result<ModelSpec> load_recorded_model(const InputFile& recorded, const std::string& plan_path,
                                      const std::string& profiles_dir) {
  const std::string at = located(recorded.source, plan_path);
  Result<ModelSpec> model = load_model(at, profiles_dir);
  if (!model.ok()) return model;
  const Result<InputFile> now = describe_model(at, profiles_dir);
  if (!now.ok()) return now.error();
  if (auto error = check_digest(at, now->digest, recorded.digest)) return *error;
  return model;
}

Result<ClusterSpec> load_recorded_cluster(const InputFile& recorded, const std::string& plan_path,
                                          const std::string& profiles_dir) {
  const std::string at = located(recorded.source, plan_path);
  Result<ClusterSpec> cluster = load_cluster(at, profiles_dir);
  if (!cluster.ok()) return cluster;
  const InputFile now = describe_cluster(at, *cluster);
  if (auto error = check_digest(at, now.digest, recorded.digest)) return *error;
  return cluster;
}

std::optional<Error> check_devices(const std::string& path, const LoadedPlan& loaded) {
  const int64_t devices = loaded.cluster.num_devices(), ranks = loaded.plan.ranks();
  if (ranks > devices) {
    return Error{path, "ranks", std::to_string(ranks),
                 "at most the " + std::to_string(devices) + " devices of the cluster"};
  }
  const auto rejections = check_plan(loaded.model, ranks, loaded.plan);
  if (!rejections.empty()) {
    return Error{path, "plan", rejections.front().what, "the rule " + rejections.front().rule};
  }
  return check_supports(loaded.cluster, loaded.plan.precision);
}

}  // namespace

Result<InputFile> describe_model(const std::string& source, const std::string& profiles_dir) {
  const std::string file = find_model_file(source, profiles_dir);
  const Result<std::string> bytes = read_file(file.empty() ? source : file);
  if (!bytes.ok()) return bytes.error();
  return InputFile{source, digest_of(*bytes)};
}

InputFile describe_cluster(const std::string& source, const ClusterSpec& cluster) {
  return {source, digest_of(to_json(cluster).dump(-1, ' ', false, Json::error_handler_t::replace))};
}

Result<LoadedPlan> load_plan(const std::string& path, const std::string& profiles_dir) {
  const std::string name = printable(path, 1000);
  Result<std::string> text = read_file(path);
  if (!text.ok()) return text.error();
  const Result<Json> json = parse_json(*text, name);
  if (!json.ok()) return json.error();
  Result<PlanFile> file = read_plan(*json, name);
  if (!file.ok()) return file.error();
  Result<ModelSpec> model = load_recorded_model(file->model, path, profiles_dir);
  if (!model.ok()) return model.error();
  Result<ClusterSpec> cluster = load_recorded_cluster(file->cluster, path, profiles_dir);
  if (!cluster.ok()) return cluster.error();
  LoadedPlan loaded{*std::move(text),    file->plan,  file->predicted, *std::move(model),
                    *std::move(cluster), file->stack, file->limits};
  if (loaded.stack.empty()) loaded.model = own_model(std::move(loaded.model), loaded.cluster);
  if (auto error = check_devices(name, loaded)) return *error;
  return loaded;
}

}  // namespace shardwright
