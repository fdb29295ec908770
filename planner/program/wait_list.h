// What an instruction waits for: a few indices without a heap allocation, because search makes
// programs of hundreds of thousands of instructions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "costmodel/check.h"

namespace shardwright {

class WaitList {
 public:
  // Instructions of one lane finish in order, so the latest of every other lane says it all.
  static constexpr int kCapacity = 5;

  WaitList() = default;
  WaitList(std::initializer_list<int> waits) {
    for (int wait : waits) push_back(wait);
  }
  void push_back(int wait) {
    SW_CHECK_LT(size_, kCapacity, "waits of an instruction");
    items_[size_++] = wait;
  }
  // Keeps the list ascending and each index once; -1 stands for nothing.
  void add(int wait) {
    if (wait < 0) return;
    int at = size_;
    while (at > 0 && items_[at - 1] > wait) --at;
    if (at > 0 && items_[at - 1] == wait) return;
    push_back(wait);
    std::rotate(items_.begin() + at, items_.begin() + size_ - 1, items_.begin() + size_);
  }
  const int* begin() const { return items_.data(); }
  const int* end() const { return items_.data() + size_; }
  const int* data() const { return items_.data(); }
  size_t size() const { return static_cast<size_t>(size_); }
  bool empty() const { return size_ == 0; }
  friend bool operator==(const WaitList& a, const WaitList& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<int, kCapacity> items_{};
  uint8_t size_ = 0;
};

}  // namespace shardwright
