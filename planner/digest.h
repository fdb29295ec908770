// Digests of inputs: enough to notice that a file is not the one a plan was made for. Not a defence
// against somebody who wants to deceive.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shardwright {

// FNV-1a, 64 bits, as "fnv1a64:" and 16 lowercase hexadecimal digits.
std::string digest_of(std::string_view bytes);

}  // namespace shardwright
