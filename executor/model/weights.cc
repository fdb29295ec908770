#include "executor/model/weights.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "executor/model/init.h"

namespace shardwright {
namespace {

bool ends_with(const std::string& text, const std::string& tail) {
  return text.size() >= tail.size() &&
         text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

// GPT-2's initialisation: normal(0, std), the projections into the residual stream smaller by
// sqrt(2 layers), norms 1, biases 0.
float std_of(const ModelSpec& model, const std::string& name, float std) {
  const bool residual =
      ends_with(name, "attention.out.weight") || ends_with(name, "mlp.down.weight");
  const double layers = static_cast<double>(model.layers());
  return residual ? static_cast<float>(std / std::sqrt(2.0 * layers)) : std;
}

void fill_part(const ModelSpec& model, const ParameterPart& part, const InitSettings& init,
               float* out) {
  if (!part.decays) {
    const float value =
        part.name.find("norm") != std::string::npos && ends_with(part.name, ".weight") ? 1.0f
                                                                                       : 0.0f;
    std::fill(out, out + part.elements(), value);
    return;
  }
  const float std = std_of(model, part.name, init.std);
  for (int64_t row = 0; row < part.rows; ++row) {
    float* to = out + row * part.cols;
    const int64_t global = part.row0 + row;
    if (global >= part.global_rows) {
      std::fill(to, to + part.cols, 0.0f);  // padding of the vocabulary
      continue;
    }
    init_normal_range(part.name, static_cast<uint64_t>(global * part.global_cols + part.col0),
                      static_cast<uint64_t>(part.cols), init.seed, std, to);
  }
}

}  // namespace

Weights::Weights(Ops& ops, const ModelSpec& model, const ChunkShape& chunk, int64_t tp_index,
                 OptimizerKind optimizer, const InitSettings& init)
    : ops_(ops), tensors_(chunk_parameters(model, chunk, tp_index)) {
  lay_out(tp_index);
  values_ = ops.allocate_floats(size_);
  grads_ = ops.allocate_floats(size_);
  if (ops.type() != DataType::kFp32) {
    copy_ = static_cast<std::byte*>(ops.allocate(size_ * size_of(ops.type())));
  }
  if (optimizer == OptimizerKind::kAdamW) {
    moment1_ = ops.allocate_floats(size_);
    moment2_ = ops.allocate_floats(size_);
    ops.fill(moment1_, 0.0f, size_);
    ops.fill(moment2_, 0.0f, size_);
  }
  initialise(model, init);
  zero_gradients();
}

Weights::~Weights() {
  for (float* block : {values_, grads_, moment1_, moment2_}) {
    if (block != nullptr) ops_.free(block);
  }
  if (copy_ != nullptr) ops_.free(copy_);
}

void Weights::lay_out(int64_t tp_index) {
  for (const ParameterTensor& tensor : tensors_) {
    slots_[tensor.slot] = {size_, tensor.elements()};
    for (const ParameterPart& part : tensor.parts) {
      SW_CHECK(part.executable, part.name << " is known to the cost model only");
      const bool counted = (!part.replicated || tp_index == 0) && !part.tied_copy;
      const bool extends =
          !runs_.empty() && runs_.back().decays == part.decays && runs_.back().counted == counted;
      if (!extends) runs_.push_back({size_, 0, part.decays, counted});
      runs_.back().count += part.elements();
      size_ += part.elements();
    }
  }
}

void Weights::initialise(const ModelSpec& model, const InitSettings& init) {
  std::vector<float> host;
  int64_t offset = 0;
  for (const ParameterTensor& tensor : tensors_) {
    for (const ParameterPart& part : tensor.parts) {
      host.resize(static_cast<size_t>(part.elements()));
      fill_part(model, part, init, host.data());
      ops_.upload(values_ + offset, host.data(),
                  part.elements() * static_cast<Bytes>(sizeof(float)));
      offset += part.elements();
    }
  }
  if (copy_ != nullptr) ops_.cast(values_, copy_, size_);
}

void* Weights::copy_at(int64_t element) const {
  return copy_ == nullptr ? nullptr : copy_ + element * size_of(ops_.type());
}

const void* Weights::value(const std::string& slot) const {
  const auto found = slots_.find(slot);
  if (found == slots_.end()) return nullptr;
  const int64_t offset = found->second.first;
  return copy_ == nullptr ? values_ + offset : copy_at(offset);
}

float* Weights::grad(const std::string& slot) const {
  const auto found = slots_.find(slot);
  return found == slots_.end() ? nullptr : grads_ + found->second.first;
}

int64_t Weights::elements(const std::string& slot) const {
  const auto found = slots_.find(slot);
  return found == slots_.end() ? 0 : found->second.second;
}

void Weights::counted_square_sum(double* sum) const {
  for (const Run& run : runs_) {
    if (run.counted) ops_.square_sum(grads_ + run.first, run.count, sum);
  }
}

void Weights::update_adamw(AdamWSettings settings, const StepScalars* scalars) {
  const float decay = settings.weight_decay;
  for (const Run& run : runs_) {
    settings.weight_decay = run.decays ? decay : 0.0f;
    ops_.adamw(values_ + run.first, copy_at(run.first), grads_ + run.first, moment1_ + run.first,
               moment2_ + run.first, run.count, settings, scalars);
  }
}

void Weights::update_sgd(float weight_decay, const StepScalars* scalars) {
  for (const Run& run : runs_) {
    ops_.sgd(values_ + run.first, copy_at(run.first), grads_ + run.first, run.count,
             run.decays ? weight_decay : 0.0f, scalars);
  }
}

void Weights::zero_gradients() { ops_.fill(grads_, 0.0f, size_); }

}  // namespace shardwright
