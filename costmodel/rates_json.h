// JSON of RateSet: the efficiency tables inside a device profile.
#pragma once

#include <optional>
#include <string>

#include "costmodel/device_profile.h"
#include "costmodel/json.h"

namespace shardwright {

// `field` is the path of the set in errors ("rates[0]").
std::optional<Error> read_rate_set(const Json& json, const std::string& file,
                                   const std::string& field, RateSet* out);
Json to_json(const RateSet& rates);

}  // namespace shardwright
