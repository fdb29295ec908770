// `shardwright profile --device cuda`: measures the GPUs of this machine.
#pragma once

#include <ostream>
#include <string>

#include "executor/profile/machine_profile.h"

namespace shardwright {

// Where `profile --device cuda` writes without -o: gpu.json beside the profile of the cores.
std::string default_gpu_path();

int run_gpu_profile(const ProfileOptions& options, const std::string& out_path, bool json,
                    std::ostream& out, std::ostream& err);

}  // namespace shardwright
