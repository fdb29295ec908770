#include "executor/profile/machine_info.h"

#include <time.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "costmodel/device_name.h"
#include "executor/comm/wait.h"

namespace shardwright {
namespace {

constexpr size_t kLongestModel = 71;  // "cpu-" and "-core" beside it make 80
constexpr Bytes kFallbackMemory = Bytes{1} << 30;

// Files of /proc have no size: read to the end.
std::string whole_text(const char* path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

const char* compiler() {
#if defined(__clang__)
  return __VERSION__;  // begins with "Clang"
#else
  return "GCC " __VERSION__;
#endif
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::string today() {
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  char text[16];
  strftime(text, sizeof(text), "%Y-%m-%d", &parts);
  return text;
}

std::string value_of_key(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || trimmed(line.substr(0, colon)) != key) continue;
    return trimmed(line.substr(colon + 1));
  }
  return "";
}

MachineInfo read_machine_info() {
  MachineInfo out;
  out.cpu_model = value_of_key(whole_text("/proc/cpuinfo"), "model name");
  if (out.cpu_model.empty()) out.cpu_model = "unknown";
  out.cores = usable_cores();
  const std::string available = value_of_key(whole_text("/proc/meminfo"), "MemAvailable");  // in kB
  out.memory_bytes = std::strtoll(available.c_str(), nullptr, 10) * 1024;
  if (out.memory_bytes <= 0) out.memory_bytes = kFallbackMemory * out.cores;
  return out;
}

std::string core_name(const std::string& cpu_model) {
  const std::string name = dashed_name(cpu_model, kLongestModel);
  return "cpu-" + (name.empty() ? "unknown" : name) + "-core";
}

std::string describe_source(const MachineInfo& info) {
  return "measured by shardwright profile on " + today() + ": " + info.cpu_model + ", " +
         std::to_string(info.cores) + " cores, oneDNN " SHARDWRIGHT_DNNL_VERSION ", " + compiler();
}

}  // namespace shardwright
