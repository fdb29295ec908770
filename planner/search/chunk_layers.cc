#include "planner/search/chunk_layers.h"

#include <algorithm>

namespace shardwright {
namespace {

class Shares {
 public:
  Shares(const ModelSpec& model, const Estimator::PartSeconds& parts, int64_t chunks,
         bool ends_may_be_empty, const std::vector<double>& speed, const ChunkBounds& bounds)
      : chunks_(chunks),
        least_(std::max<int64_t>(1, bounds.least)),
        least_at_ends_(ends_may_be_empty ? bounds.least : least_),
        parts_(parts),
        speed_(speed),
        most_(bounds.most) {
    layers_.reserve(model.layer_kind.size());
    for (int kind : model.layer_kind) layers_.push_back(parts.kinds[kind]);
    uniform_ = model.kinds.size() == 1;
  }

  std::vector<int64_t> run() {
    if (static_cast<int64_t>(layers_.size()) < least_from(0)) return {};
    double low = 0, high = fixed(0) + fixed(chunks_ - 1);
    for (double layer : layers_) high += layer;
    high *= slowest_speed();
    low = high / static_cast<double>(chunks_) / slowest_speed() / 2;
    if (!most_.empty() && !may_hold_all(high)) return {};
    // Half the interval until it no longer tells layers apart.
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (holds_all(middle) ? high : low) = middle;
    }
    fill(high);
    return settle();
  }

 private:
  static constexpr int kHalvings = 30;

  double speed(int64_t chunk) const { return speed_.empty() ? 1 : speed_[chunk]; }
  double slowest_speed() const {
    return speed_.empty() ? 1 : *std::max_element(speed_.begin(), speed_.end());
  }
  double fixed(int64_t chunk) const {
    return (chunk == 0 ? parts_.embedding : 0) + (chunk == chunks_ - 1 ? parts_.head : 0);
  }
  int64_t least(int64_t chunk) const {
    return chunk == 0 || chunk == chunks_ - 1 ? least_at_ends_ : least_;
  }
  // Of this chunk and all behind it. REQUIRES: there are two or more chunks.
  int64_t least_from(int64_t chunk) const {
    if (chunk == chunks_) return 0;
    const int64_t between = chunks_ - 1 - std::max<int64_t>(1, chunk);
    return (chunk == 0 ? least_at_ends_ : 0) + between * least_ + least_at_ends_;
  }

  // Layers from `first` on that chunk `chunk` does within `limit`.
  int64_t room(int64_t chunk, int64_t first, double limit) const {
    const int64_t count = room_in_time(chunk, first, limit);
    return most_.empty() ? count : std::min(count, most_[chunk]);
  }
  int64_t room_in_time(int64_t chunk, int64_t first, double limit) const {
    double left = limit / speed(chunk) - fixed(chunk);
    if (uniform_) {
      const double count = left / std::max(layers_.front(), 1e-15);
      return std::max(least(chunk), static_cast<int64_t>(count + 1e-9));
    }
    int64_t count = 0;
    while (first + count < static_cast<int64_t>(layers_.size()) &&
           left >= layers_[first + count] * (1 - 1e-12)) {
      left -= layers_[first + count++];
    }
    return std::max(least(chunk), count);
  }

  // Whether the chunks hold all layers when only their number is limited.
  bool may_hold_all(double limit) const {
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      if (most_[chunk] < least(chunk)) return false;
    }
    return holds_all(limit);
  }
  bool holds_all(double limit) const {
    const auto all = static_cast<int64_t>(layers_.size());
    int64_t first = 0;
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      // Forced to take a layer that is slower than the limit.
      const int64_t count = room(chunk, first, limit);
      if (count == least(chunk) && !within(chunk, first, std::min(count, all - first), limit)) {
        return false;
      }
      first = std::min(all, first + count);
      if (uniform_ && chunk == 1 && chunks_ > 3 && speed_.empty() && most_.empty()) {
        // Chunks between the ends hold the same.
        first = std::min(all, first + count * (chunks_ - 3));
        chunk = chunks_ - 2;
      }
    }
    return first >= all;
  }
  bool within(int64_t chunk, int64_t first, int64_t count, double limit) const {
    double time = fixed(chunk);
    for (int64_t i = 0; i < count; ++i) time += layers_[first + i];
    return time * speed(chunk) <= limit * (1 + 1e-12);
  }

  void fill(double limit) {
    limit_ = limit;
    share_.clear();
    int64_t first = 0;
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      share_.push_back(room(chunk, first, limit));
      first = std::min(static_cast<int64_t>(layers_.size()), first + share_.back());
    }
  }

  // From capacities to shares: the layers that are too many are taken one by one from the chunk
  // that is slowest, the earliest of equals. Later chunks then begin with other layers, which may
  // be of another kind; capacities are filled front to back, so only uniform models need this.
  std::vector<int64_t> settle() {
    const auto all = static_cast<int64_t>(layers_.size());
    if (!uniform_) return settle_mixed();
    int64_t surplus = -all;
    for (int64_t share : share_) surplus += share;
    while (surplus > 0) {
      int64_t slowest = -1;
      double most = -1;
      for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
        if (share_[chunk] <= least(chunk)) continue;
        const double time =
            (fixed(chunk) + static_cast<double>(share_[chunk]) * layers_.front()) * speed(chunk);
        if (time <= most * (1 + 1e-9)) continue;
        most = time;
        slowest = chunk;
      }
      if (slowest < 0) return {};
      --share_[slowest];
      --surplus;
    }
    return surplus == 0 ? share_ : std::vector<int64_t>();
  }

  // Front to back, but never so many that the chunks behind would be left without a layer.
  std::vector<int64_t> settle_mixed() {
    const auto all = static_cast<int64_t>(layers_.size());
    std::vector<int64_t> share(chunks_);
    int64_t first = 0;
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      share[chunk] = std::min(room(chunk, first, limit_), all - first - least_from(chunk + 1));
      if (share[chunk] < least(chunk)) return {};
      first += share[chunk];
    }
    return first == all ? share : std::vector<int64_t>();
  }

  int64_t chunks_, least_, least_at_ends_;
  const Estimator::PartSeconds& parts_;
  const std::vector<double>& speed_;
  const std::vector<int64_t>& most_;
  std::vector<double> layers_;
  bool uniform_ = false;
  double limit_ = 0;
  std::vector<int64_t> share_;
};

}  // namespace

std::vector<int64_t> chunk_layers(const ModelSpec& model, const Estimator::PartSeconds& parts,
                                  int64_t chunks, bool ends_may_be_empty,
                                  const std::vector<double>& speed, const ChunkBounds& bounds) {
  if (chunks > 1) return Shares(model, parts, chunks, ends_may_be_empty, speed, bounds).run();
  const int64_t all = model.layers();
  const bool within = all >= bounds.least && (bounds.most.empty() || all <= bounds.most.front());
  return within ? std::vector<int64_t>{all} : std::vector<int64_t>();
}

double slowest_chunk(const ModelSpec& model, const Estimator::PartSeconds& parts,
                     const std::vector<int64_t>& layers, const std::vector<double>& speed) {
  double slowest = 0;
  size_t layer = 0;
  for (size_t chunk = 0; chunk < layers.size(); ++chunk) {
    double time =
        (chunk == 0 ? parts.embedding : 0) + (chunk + 1 == layers.size() ? parts.head : 0);
    for (int64_t i = 0; i < layers[chunk]; ++i) time += parts.kinds[model.layer_kind[layer++]];
    slowest = std::max(slowest, time * (speed.empty() ? 1 : speed[chunk]));
  }
  return slowest;
}

}  // namespace shardwright
