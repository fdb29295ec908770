#include "planner/digest.h"

namespace shardwright {

std::string digest_of(std::string_view bytes) {
  // Offset basis and prime of the 64-bit variant (draft-eastlake-fnv).
  uint64_t hash = 0xcbf29ce484222325U;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3U;
  std::string text = "fnv1a64:";
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[hash >> shift & 15];
  return text;
}

}  // namespace shardwright
