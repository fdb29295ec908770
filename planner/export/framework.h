// The trainers that plans are exported to and whose jobs lint reads: what each is called, which
// version of its flags we know, and which time and memory model stands for it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "costmodel/json.h"

namespace shardwright {

enum class Framework { kMegatron, kDeepSpeed, kTorchtitan, kFsdp, kNemo };
const char* name_of(Framework framework);  // "megatron", "deepspeed", "torchtitan", "fsdp", "nemo"
std::vector<Framework> all_frameworks();
bool parse_framework(const std::string& name, Framework* out);

// How many values follow a flag: none, one, all up to the next flag, or none or one.
enum class FlagKind { kFlag, kOne, kMany, kAny };

// Every flag or key that a version of the framework defines (tools/framework_flags.py).
struct KnownFlags {
  std::string release, repository, commit;
  std::map<std::string, FlagKind> flags;
  bool has(const std::string& name) const { return flags.count(name) > 0; }
  // "Megatron-LM main of 2026-08-22 (github.com/NVIDIA/Megatron-LM, commit d98e8a64ddf3)"
  std::string line() const;
};
// profiles_dir/frameworks/NAME.json.
Result<KnownFlags> load_known_flags(Framework framework, const std::string& profiles_dir);

}  // namespace shardwright
