#include "planner/export/framework.h"

#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

// The data file of a framework: Accelerate's launcher carries FSDP, Megatron-Bridge carries NeMo.
const char* data_name(Framework framework) {
  switch (framework) {
    case Framework::kFsdp:
      return "accelerate";
    case Framework::kNemo:
      return "megatron-bridge";
    default:
      return name_of(framework);
  }
}

constexpr std::pair<const char*, FlagKind> kKinds[] = {{"flag", FlagKind::kFlag},
                                                       {"one", FlagKind::kOne},
                                                       {"many", FlagKind::kMany},
                                                       {"any", FlagKind::kAny}};

}  // namespace

const char* name_of(Framework framework) {
  switch (framework) {
    case Framework::kMegatron:
      return "megatron";
    case Framework::kDeepSpeed:
      return "deepspeed";
    case Framework::kTorchtitan:
      return "torchtitan";
    case Framework::kFsdp:
      return "fsdp";
    case Framework::kNemo:
      return "nemo";
  }
  return "?";
}

bool parse_framework(const std::string& name, Framework* out) {
  for (Framework framework : all_frameworks()) {
    if (name != name_of(framework)) continue;
    *out = framework;
    return true;
  }
  return false;
}

std::vector<Framework> all_frameworks() {
  return {Framework::kMegatron, Framework::kDeepSpeed, Framework::kTorchtitan, Framework::kFsdp,
          Framework::kNemo};
}

std::string KnownFlags::line() const {
  return release + " (" + repository + ", commit " + commit.substr(0, 12) + ")";
}

Result<KnownFlags> load_known_flags(Framework framework, const std::string& profiles_dir) {
  const std::string path = profiles_dir + "/frameworks/" + data_name(framework) + ".json";
  const Result<Json> json = read_json_file(path);
  if (!json) return json.error();
  Fields top(*json, path);
  KnownFlags known;
  const std::string schema = top.text("schema");
  if (!top.error() && schema != "shardwright.framework/1") {
    top.fail("schema", '"' + printable(schema) + '"', "\"shardwright.framework/1\"");
  }
  known.release = top.text("release");
  known.repository = top.text("repository");
  known.commit = top.text("commit");
  top.ignore({"name", "files"});
  Fields flags(top.object("flags"), path, "flags.");
  if (auto error = top.finish()) return *error;
  for (const auto& [name, kind] : kKinds) {
    if (!flags.has(name)) continue;
    for (const Json& flag : flags.array(name)) {
      if (flag.is_string()) known.flags[flag.get<std::string>()] = kind;
    }
  }
  if (auto error = flags.finish()) return *error;
  return known;
}

}  // namespace shardwright
