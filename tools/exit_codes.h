// What the command returns.
#pragma once

namespace shardwright {

inline constexpr int kExitOk = 0;
inline constexpr int kExitBadInput = 2;  // one line: file, field, what was found, what was expected
inline constexpr int kExitNothingFits = 3;  // with the nearest plan that would fit
inline constexpr int kExitRunFailed = 4;    // a rank, a peer or a deadline failed while running
inline constexpr int kExitOurMistake = 70;  // a broken invariant: please report it

}  // namespace shardwright
