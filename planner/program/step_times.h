// Nanoseconds of the steps of one instruction: a vector that takes 8 bytes while it is empty, as it
// is in all events of a simulation without steps, of which large programs have hundreds of
// thousands.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <vector>

#include "costmodel/units.h"

namespace shardwright {

class StepTimes {
 public:
  using value_type = Nanoseconds;
  using const_iterator = const Nanoseconds*;

  StepTimes() = default;
  StepTimes(std::initializer_list<Nanoseconds> times) { assign(times.begin(), times.end()); }
  StepTimes(const StepTimes& other) { assign(other.begin(), other.end()); }
  StepTimes(StepTimes&& other) noexcept = default;
  StepTimes& operator=(const StepTimes& other) {
    if (this != &other) assign(other.begin(), other.end());
    return *this;
  }
  StepTimes& operator=(StepTimes&& other) noexcept = default;

  template <typename Iterator>
  void assign(Iterator first, Iterator last) {
    if (first == last) return clear();
    times_ = std::make_unique<std::vector<Nanoseconds>>(first, last);
  }
  void push_back(Nanoseconds time) {
    if (!times_) times_ = std::make_unique<std::vector<Nanoseconds>>();
    times_->push_back(time);
  }
  void clear() { times_.reset(); }

  bool empty() const { return !times_; }
  size_t size() const { return times_ ? times_->size() : 0; }
  const Nanoseconds* begin() const { return times_ ? times_->data() : nullptr; }
  const Nanoseconds* end() const { return begin() + size(); }
  Nanoseconds operator[](size_t step) const { return begin()[step]; }
  Nanoseconds back() const { return times_->back(); }
  friend bool operator==(const StepTimes& a, const StepTimes& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::unique_ptr<std::vector<Nanoseconds>> times_;  // none: no steps
};

}  // namespace shardwright
