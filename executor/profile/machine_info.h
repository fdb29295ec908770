// What this machine says about itself: the part of its profile that is read, not measured.
#pragma once

#include <cstdint>
#include <string>

#include "costmodel/units.h"

namespace shardwright {

struct MachineInfo {
  std::string cpu_model;  // "AMD EPYC 9654 96-Core Processor"; "unknown" where the system is silent
  int64_t cores = 1;      // that this process may use
  Bytes memory_bytes = 0;  // available now, of the whole machine
};
MachineInfo read_machine_info();

// The name of one core as a device: "cpu-amd-epyc-9654-96-core-processor-core". Letters, digits and
// '-' only, at most 80 characters.
std::string core_name(const std::string& cpu_model);

// The value of "key : value" in the text of /proc/cpuinfo or /proc/meminfo; empty when absent.
std::string value_of_key(const std::string& text, const std::string& key);

std::string today();  // "2026-11-21", UTC

// Processor, libraries, compiler and today's date, for DeviceProfile::source.
std::string describe_source(const MachineInfo& info);

}  // namespace shardwright
