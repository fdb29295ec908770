#include "executor/comm/mailbox.h"

#include <algorithm>
#include <cstring>

namespace shardwright {

void Parcel::fill(const float* from, int64_t count) {
  if (capacity < count) {
    data.reset();  // before the new one is there: never both
    data = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(count));
    capacity = count;
  }
  elements = count;
  if (count > 0) std::memcpy(data.get(), from, static_cast<size_t>(count) * sizeof(float));
}

std::list<Parcel> Mailbox::acquire(int64_t elements) {
  std::list<Parcel> one;
  const std::lock_guard<std::mutex> lock(mutex_);
  auto fitting = std::find_if(idle_.begin(), idle_.end(),
                              [&](const Parcel& p) { return p.capacity >= elements; });
  if (fitting == idle_.end() && !idle_.empty()) fitting = idle_.begin();
  if (fitting != idle_.end()) {
    one.splice(one.begin(), idle_, fitting);
  } else {
    one.emplace_back();
    ++made_;
  }
  return one;
}

void Mailbox::post(const float* data, int64_t elements) {
  std::list<Parcel> one = acquire(elements);
  one.front().fill(data, elements);  // outside the lock: the receiver may take an earlier one
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.splice(queue_.end(), one);
  }
  posted_.advance();
}

Signal::Outcome Mailbox::await(std::chrono::nanoseconds limit, const Alarm& alarm) {
  return posted_.await(taken_ + 1, limit, &alarm);
}

int64_t Mailbox::take(float* into, int64_t expected) {
  std::list<Parcel> one;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    one.splice(one.begin(), queue_, queue_.begin());
  }
  ++taken_;
  const int64_t elements = one.front().elements;
  if (elements == expected && elements > 0) {
    std::memcpy(into, one.front().data.get(), static_cast<size_t>(elements) * sizeof(float));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.splice(idle_.begin(), one);  // the most recent first: its pages are in the cache
  return elements;
}

int64_t Mailbox::buffers() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return made_;
}

}  // namespace shardwright
