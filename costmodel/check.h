// Broken invariants: conditions that only a mistake in this program can violate.
//
// SW_CHECK prints the condition, SW_CHECK_EQ and friends print both values, all of them the place.
// They throw BrokenInvariant, because a library neither prints nor exits; tools/ turns it into a
// one-line message and exit code 70. Bad input from a user is never a broken invariant: see
// result.h.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace shardwright {

class BrokenInvariant : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace internal {

[[noreturn]] inline void fail_check(const char* file, int line, const std::string& what) {
  throw BrokenInvariant(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
std::string describe(const char* expression, const A& a, const B& b) {
  std::ostringstream out;
  out << "check failed: " << expression << " (" << a << " vs " << b << ")";
  return out.str();
}

}  // namespace internal
}  // namespace shardwright

// The trailing argument is streamed: SW_CHECK(found, "rank " << rank).
#define SW_CHECK(condition, context)                                          \
  do {                                                                        \
    if (!(condition)) {                                                       \
      std::ostringstream sw_out_;                                             \
      sw_out_ << "check failed: " #condition ": " << context; /* NOLINT */    \
      ::shardwright::internal::fail_check(__FILE__, __LINE__, sw_out_.str()); \
    }                                                                         \
  } while (false)

#define SW_CHECK_COMPARE_(a, op, b, context)                                                \
  do {                                                                                      \
    const auto& sw_a_ = (a);                                                                \
    const auto& sw_b_ = (b);                                                                \
    if (!(sw_a_ op sw_b_)) {                                                                \
      std::ostringstream sw_out_;                                                           \
      sw_out_ << ::shardwright::internal::describe(#a " " #op " " #b, sw_a_, sw_b_) << ": " \
              << context; /* NOLINT */                                                      \
      ::shardwright::internal::fail_check(__FILE__, __LINE__, sw_out_.str());               \
    }                                                                                       \
  } while (false)

#define SW_CHECK_EQ(a, b, context) SW_CHECK_COMPARE_(a, ==, b, context)
#define SW_CHECK_LE(a, b, context) SW_CHECK_COMPARE_(a, <=, b, context)
#define SW_CHECK_LT(a, b, context) SW_CHECK_COMPARE_(a, <, b, context)
#define SW_CHECK_GE(a, b, context) SW_CHECK_COMPARE_(a, >=, b, context)
