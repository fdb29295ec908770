// `shardwright export`: a plan as files of another trainer.
#pragma once

#include <iosfwd>
#include <string>

namespace shardwright {

struct ExportArguments {
  std::string plan;               // plan.json
  std::string to = "megatron";    // a framework, or slurm
  std::string wrap = "megatron";  // what slurm starts
  std::string out;                // folder; made when it is not there
  bool force = false;             // replace files that are there
  bool json = false;
};
// Files are written whole or not at all: what cannot be expressed, and files that exist already,
// are refused before the first one.
int run_export(const ExportArguments& arguments, std::ostream& out, std::ostream& err);

}  // namespace shardwright
