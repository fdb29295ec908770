// Bad input from a user, as a value: an Error says which file, which field, what was found and what
// was expected, and Result<T> holds either a T or an Error. Functions that read what users wrote
// return Result; nothing in the libraries prints or exits.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "costmodel/check.h"

namespace shardwright {

struct Error {
  std::string file;      // path as the user gave it, or "command line"
  std::string field;     // e.g. "parallel.tp"; empty when the whole file is meant
  std::string found;     // what was there, shortened; empty when nothing sensible can be quoted
  std::string expected;  // what would have been accepted

  // One line for people: "plan.json: tp: found 3, expected a divisor of 8 heads".
  std::string line() const {
    std::string out = file;
    if (!field.empty()) out += ": " + field;
    if (!found.empty()) out += ": found " + found;
    if (!expected.empty()) out += (found.empty() ? ": expected " : ", expected ") + expected;
    return out;
  }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : held_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return held_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok() for value and the operators, !ok() for error.
  const T& value() const& {
    require();
    return std::get<0>(held_);
  }
  T& value() & {
    require();
    return std::get<0>(held_);
  }
  T&& value() && {
    require();
    return std::get<0>(std::move(held_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }
  const Error& error() const {
    SW_CHECK(!ok(), "error() of a Result that holds a value");
    return std::get<1>(held_);
  }

 private:
  void require() const { SW_CHECK(ok(), std::get<1>(held_).line()); }
  std::variant<T, Error> held_;
};

}  // namespace shardwright
