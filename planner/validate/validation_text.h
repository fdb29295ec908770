// A Validation as JSON for machines, tables for people, and the page of accuracy (Markdown).
#pragma once

#include <string>

#include "costmodel/json.h"
#include "planner/validate/validate.h"

namespace shardwright {

// {"sources": [...], "ops": [], "records": [...], "groups": [...]}; what is not known is null.
Json to_json(const Validation& validation);
// By source and by group, refused rows with their reasons last.
std::string table_of(const Validation& validation);
std::string markdown_of(const Validation& validation, const std::string& profiles_dir);

}  // namespace shardwright
