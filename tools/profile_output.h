// What the measuring commands have in common: progress on a terminal, and a file that is known to
// be writable before a minute is spent.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "costmodel/json.h"
#include "costmodel/result.h"
#include "executor/profile/machine_profile.h"

namespace shardwright {

struct ProfileFile {
  std::string path;
  bool default_place = false;  // then its folder is made
};

// Measures, with progress on a terminal, and writes what `json` gives afterwards. Returns an exit
// code; what went wrong is one line on `err`, and no file then.
int measure_to_file(const ProfileFile& file, const ProfileOptions& options,
                    const std::function<std::optional<Error>(const ProfileOptions&)>& measure,
                    const std::function<Json()>& json, std::ostream& err);

}  // namespace shardwright
