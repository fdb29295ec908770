// Ops for tests of communicators: memory and copies, and no kernels. Copies between host and device
// are done at the latest moment that the interface allows, in synchronize(), so that who does not
// wait reads what was there before.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "costmodel/check.h"
#include "executor/ops.h"

namespace shardwright::testing {

class StandInOps final : public Ops {
 public:
  explicit StandInOps(Lanes& lanes) : lanes_(lanes) {}

  DataType type() const override { return DataType::kBf16; }
  Lanes& lanes() override { return lanes_; }
  void* allocate(Bytes bytes) override {
    auto block = std::make_unique<char[]>(static_cast<size_t>(bytes));
    void* const data = block.get();
    blocks_[data] = std::move(block);
    return data;
  }
  void free(void* block) override { SW_CHECK_EQ(blocks_.erase(block), 1U, "free"); }
  Bytes live_bytes() const override { return static_cast<Bytes>(blocks_.size()); }  // blocks
  Bytes peak_bytes() const override { return 0; }
  void reset_peak() override {}
  void* host_block(Bytes bytes) override {
    host_.push_back({std::make_unique<char[]>(static_cast<size_t>(bytes)), bytes});
    return host_.back().data.get();
  }
  void upload(void* to, const void* host, Bytes bytes) override {
    check_host(host, bytes);
    late_.push_back([=] { std::memcpy(to, host, static_cast<size_t>(bytes)); });
  }
  void download(void* host, const void* from, Bytes bytes) override {
    check_host(host, bytes);
    late_.push_back([=] { std::memcpy(host, from, static_cast<size_t>(bytes)); });
  }
  void synchronize() override {
    for (const auto& copy : late_) copy();
    late_.clear();
  }
  void zero(void* p, Bytes bytes) override { std::memset(p, 0, static_cast<size_t>(bytes)); }
  void copy(void* to, const void* from, Bytes bytes) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  Bytes host_bytes() const {
    Bytes sum = 0;
    for (const HostBlock& block : host_) sum += block.bytes;
    return sum;
  }

  void linear(const void*, const void*, const void*, void*, int64_t, int64_t, int64_t) override {
    no_kernels();
  }
  void linear_input_grad(const void*, const void*, void*, int64_t, int64_t, int64_t) override {
    no_kernels();
  }
  void linear_weight_grad(const void*, const void*, float*, float*, int64_t, int64_t,
                          int64_t) override {
    no_kernels();
  }
  void norm(Norm, const void*, const void*, const void*, float, void*, float*, int64_t,
            int64_t) override {
    no_kernels();
  }
  void add_norm(Norm, const void*, const void*, const void*, const void*, const void*, float, void*,
                void*, float*, int64_t, int64_t) override {
    no_kernels();
  }
  void norm_grad(Norm, const void*, const void*, const float*, const void*, const void*, void*,
                 float*, float*, int64_t, int64_t) override {
    no_kernels();
  }
  void add(const void*, const void*, const void*, void*, int64_t, int64_t) override {
    no_kernels();
  }
  void column_sum(const void*, float*, int64_t, int64_t) override { no_kernels(); }
  void rope(void*, const AttentionShape&, int64_t, float, bool) override { no_kernels(); }
  void attention(const void*, const AttentionShape&, void*, float*) override { no_kernels(); }
  void attention_grad(const void*, const void*, const float*, const void*, const AttentionShape&,
                      void*) override {
    no_kernels();
  }
  void activation(Activation, const void*, const void*, void*, int64_t, int64_t) override {
    no_kernels();
  }
  void activation_grad(Activation, const void*, const void*, const void*, void*, float*, int64_t,
                       int64_t) override {
    no_kernels();
  }
  void gated(Activation, const void*, void*, int64_t, int64_t) override { no_kernels(); }
  void gated_grad(Activation, const void*, const void*, void*, int64_t, int64_t) override {
    no_kernels();
  }
  void embedding(const int32_t*, const void*, int64_t, int64_t, const void*, void*, int64_t,
                 int64_t, int64_t) override {
    no_kernels();
  }
  void embedding_grad(const int32_t*, const void*, float*, int64_t, int64_t, float*, int64_t,
                      int64_t, int64_t) override {
    no_kernels();
  }
  void loss_local(const void*, const int32_t*, int64_t, int64_t, int64_t, float*,
                  int64_t) override {
    no_kernels();
  }
  void loss_combine(const float*, int64_t, float*, int64_t, double*) override { no_kernels(); }
  void loss_grad(void*, const int32_t*, int64_t, int64_t, int64_t, const float*, float,
                 int64_t) override {
    no_kernels();
  }
  void adamw(float*, void*, const float*, float*, float*, int64_t, const AdamWSettings&,
             const StepScalars*) override {
    no_kernels();
  }
  void sgd(float*, void*, const float*, int64_t, float, const StepScalars*) override {
    no_kernels();
  }
  void square_sum(const float*, int64_t, double*) override { no_kernels(); }
  void clip_scale(const double*, float, float*) override { no_kernels(); }
  void cast(const float*, void*, int64_t) override { no_kernels(); }
  void fill(float*, float, int64_t) override { no_kernels(); }
  void add_into(float*, const float*, int64_t) override { no_kernels(); }

 private:
  struct HostBlock {
    std::unique_ptr<char[]> data;
    Bytes bytes;
  };
  [[noreturn]] static void no_kernels() { SW_CHECK(false, "no kernels here"); }
  // Inside a step copies go from and to memory of host_block() only.
  void check_host(const void* at, Bytes bytes) const {
    const char* const begin = static_cast<const char*>(at);
    const bool inside = std::any_of(host_.begin(), host_.end(), [&](const HostBlock& block) {
      return begin >= block.data.get() && begin + bytes <= block.data.get() + block.bytes;
    });
    SW_CHECK(inside, bytes << " bytes outside of the blocks of host memory");
  }

  Lanes& lanes_;
  std::map<void*, std::unique_ptr<char[]>> blocks_;
  std::vector<HostBlock> host_;
  std::vector<std::function<void()>> late_;
};

}  // namespace shardwright::testing
