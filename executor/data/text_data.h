// Training text: a file's bytes as tokens (vocabulary of 256), memory-mapped, cut into windows of
// seq + 1 bytes that overlap by one. Which window a sample of a step gets depends on the seed and
// the sample's number alone, so every plan sees the same data in the same order, and no two samples
// of an epoch are the same window.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "costmodel/result.h"

namespace shardwright {

class TextData {
 public:
  // Fails when the file cannot be mapped, the model's vocabulary is under 256, or the text is
  // shorter than one step of `global_batch` windows.
  static Result<std::unique_ptr<TextData>> open(const std::string& path, int64_t seq,
                                                int64_t global_batch, int64_t vocab, uint64_t seed);
  ~TextData();
  TextData(const TextData&) = delete;
  TextData& operator=(const TextData&) = delete;

  int64_t windows() const { return windows_; }
  // Sample `number` counts through all steps: step * global_batch + place in the batch.
  // tokens[seq] and targets[seq], the next byte each.
  void sample(int64_t number, int32_t* tokens, int32_t* targets) const;
  // Window of a sample: a permutation of [0, windows) per epoch.
  int64_t window_of(int64_t number) const;

 private:
  TextData() = default;
  const unsigned char* bytes_ = nullptr;
  size_t size_ = 0;
  int64_t seq_ = 0, windows_ = 0;
  uint64_t seed_ = 0;
};

}  // namespace shardwright
