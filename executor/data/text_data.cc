#include "executor/data/text_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int64_t kByteVocab = 256;

// The finaliser of splitmix64.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// A permutation of [0, 4^half_bits) by four Feistel rounds.
uint64_t feistel(uint64_t x, int half_bits, uint64_t key) {
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = x >> half_bits, right = x & mask;
  for (uint64_t round = 0; round < 4; ++round) {
    const uint64_t next = left ^ (mix(right + key + (round << 56)) & mask);
    left = right;
    right = next;
  }
  return left << half_bits | right;
}

}  // namespace

Result<std::unique_ptr<TextData>> TextData::open(const std::string& path, int64_t seq,
                                                 int64_t global_batch, int64_t vocab,
                                                 uint64_t seed) {
  if (vocab < kByteVocab) {
    return Error{path, "vocab_size", std::to_string(vocab),
                 "at least 256: text is trained on as bytes"};
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{path, "", std::strerror(errno), "a readable text file"};
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return Error{path, "", "no regular file", "a readable text file"};
  }
  const int64_t need = global_batch * seq + 1;
  if (info.st_size < need) {
    close(fd);
    return Error{path, "size", std::to_string(info.st_size) + " bytes",
                 "at least " + std::to_string(need) + " for one step of " +
                     std::to_string(global_batch) + " x " + std::to_string(seq) + " tokens"};
  }
  void* map = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  const int map_errno = errno;
  close(fd);
  if (map == MAP_FAILED) return Error{path, "", std::strerror(map_errno), "a mappable file"};
  std::unique_ptr<TextData> data(new TextData());
  data->bytes_ = static_cast<const unsigned char*>(map);
  data->size_ = static_cast<size_t>(info.st_size);
  data->seq_ = seq;
  data->windows_ = (info.st_size - 1) / seq;
  data->seed_ = seed;
  return data;
}

TextData::~TextData() {
  if (bytes_ != nullptr) munmap(const_cast<unsigned char*>(bytes_), size_);
}

int64_t TextData::window_of(int64_t number) const {
  SW_CHECK_GE(number, 0, "sample number");
  const uint64_t epoch = static_cast<uint64_t>(number / windows_);
  const uint64_t key = mix(seed_ + mix(epoch));
  int half_bits = 1;
  while ((int64_t{1} << (2 * half_bits)) < windows_) ++half_bits;
  // Walk the cycle until it is back inside: fewer than four steps on average.
  uint64_t x = static_cast<uint64_t>(number % windows_);
  do {
    x = feistel(x, half_bits, key);
  } while (x >= static_cast<uint64_t>(windows_));
  return static_cast<int64_t>(x);
}

void TextData::sample(int64_t number, int32_t* tokens, int32_t* targets) const {
  const unsigned char* text = bytes_ + window_of(number) * seq_;
  for (int64_t t = 0; t < seq_; ++t) {
    tokens[t] = text[t];
    targets[t] = text[t + 1];
  }
}

}  // namespace shardwright
