#include "tools/export_command.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "planner/export/export_plan.h"
#include "planner/plan_json.h"
#include "tools/exit_codes.h"
#include "tools/job_json.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;
constexpr const char* kCommandLine = "command line";

int refuse(const Error& error, std::ostream& err) {
  err << error.line() << "\n";
  return kExitBadInput;
}

Result<ExportTarget> target_of(const ExportArguments& arguments) {
  ExportTarget target;
  if (!parse_target(arguments.to, &target)) {
    return Error{kCommandLine, "to", printable(arguments.to),
                 "megatron, deepspeed, torchtitan, fsdp, nemo or slurm"};
  }
  if (!target.slurm) return target;
  ExportTarget wrapped;
  if (!parse_target(arguments.wrap, &wrapped) ||
      (wrapped.framework != Framework::kMegatron && wrapped.framework != Framework::kTorchtitan)) {
    return Error{kCommandLine, "wrap", printable(arguments.wrap), "megatron or torchtitan"};
  }
  target.framework = wrapped.framework;
  return target;
}

// Everything that the framework lacks, in one line.
Error cannot_say(const ExportArguments& arguments, const Export& exported) {
  std::string what;
  for (const Rejection& refused : exported.refused) {
    what += (what.empty() ? "" : "; ") + refused.line();
  }
  return Error{printable(arguments.plan, 1000), arguments.to + " cannot express " + what, "", ""};
}

std::optional<Error> make_folder(const std::string& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (!fs::is_directory(folder, failed)) {
    return Error{printable(folder, 1000), "", "no folder", "one that can be made"};
  }
  return std::nullopt;
}

std::optional<Error> refuse_existing(const std::string& folder, const Export& exported) {
  for (const ExportFile& file : exported.files) {
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(fs::path(folder) / file.name, ignored))) continue;
    return Error{printable(folder + "/" + file.name, 1000), "", "a file that is there already",
                 "another folder, or --force"};
  }
  return std::nullopt;
}

// All files are written under other names first: a failure leaves none of them.
std::optional<Error> write_all(const std::string& folder, const Export& exported) {
  const auto remove_all = [&](const char* suffix) {
    for (const ExportFile& file : exported.files) {
      std::error_code ignored;
      fs::remove(fs::path(folder) / (file.name + suffix), ignored);
    }
  };
  constexpr const char* kNew = ".new";
  for (const ExportFile& file : exported.files) {
    const std::string path = folder + "/" + file.name + kNew;
    if (auto error = write_file_atomically(path, file.content)) {
      remove_all(kNew);
      return error;
    }
    std::error_code ignored;
    if (file.executable) {
      fs::permissions(path, fs::perms::owner_exec, fs::perm_options::add, ignored);
    }
  }
  for (const ExportFile& file : exported.files) {
    std::error_code failed;
    fs::rename(fs::path(folder) / (file.name + kNew), fs::path(folder) / file.name, failed);
    if (!failed) continue;
    remove_all(kNew);
    return Error{printable(folder + "/" + file.name, 1000), "", failed.message(),
                 "a name to write"};
  }
  return std::nullopt;
}

Json to_json(const ExportArguments& arguments, const Export& exported) {
  Json json;
  json["framework"] = name_of(exported.framework);
  json["files"] = Json::array();
  for (const ExportFile& file : exported.files) {
    json["files"].push_back(arguments.out + "/" + file.name);
  }
  json["plan"] = choices_json(exported.plan);
  json["changed"] = exported.changed;
  json["predicted"] = to_json(exported.predicted, exported.software);
  return json;
}

}  // namespace

int run_export(const ExportArguments& arguments, std::ostream& out, std::ostream& err) {
  const Result<ExportTarget> target = target_of(arguments);
  if (!target) return refuse(target.error(), err);
  const std::string profiles = default_profiles_dir();
  const Result<LoadedPlan> plan = load_plan(arguments.plan, profiles);
  if (!plan) return refuse(plan.error(), err);
  const Result<Export> exported =
      export_plan(*target, plan->model, plan->cluster, plan->plan, profiles);
  if (!exported) return refuse(exported.error(), err);
  if (!exported->refused.empty()) return refuse(cannot_say(arguments, *exported), err);
  if (!arguments.force) {
    if (auto error = refuse_existing(arguments.out, *exported)) return refuse(*error, err);
  }
  if (auto error = make_folder(arguments.out)) return refuse(*error, err);
  if (auto error = write_all(arguments.out, *exported)) return refuse(*error, err);
  if (arguments.json) {
    out << to_json(arguments, *exported).dump(2, ' ', false, Json::error_handler_t::replace)
        << "\n";
    return kExitOk;
  }
  for (const ExportFile& file : exported->files) out << arguments.out << "/" << file.name << "\n";
  out << "predicted: " << prediction_line(exported->predicted, exported->software) << "\n";
  if (!exported->predicted.fits()) out << "it does not fit, as predicted for this framework\n";
  for (const std::string& change : exported->changed) {
    out << "not as planned, the framework has no switch for it: " << change << "\n";
  }
  return kExitOk;
}

}  // namespace shardwright
