// Numbers as people read them in tables, in a fixed width of digits.
#pragma once

#include <string>

#include "costmodel/units.h"

namespace shardwright {

std::string seconds_text(double seconds);  // "1.234 s", "56.78 ms", "9.01 us"
std::string bytes_text(Bytes bytes);       // "78.68 GiB", "12.30 MiB"
std::string percent_text(double share);    // "14.6%" of 0.146
std::string rate_text(double per_second);  // "678123"

}  // namespace shardwright
