// LayerLimits: what a user says of layers per chunk. They are no choice of their own (they follow
// from the times of the parts, chunk_layers.h) but may be given whole, or bounded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/model_spec.h"
#include "planner/search/constraints.h"

namespace shardwright {

// "3+4x6+3": eight chunks in model order, of 3, six times 4, and 3 layers. An empty list: no such
// text, or too long a list for any model.
std::vector<int64_t> parse_layers(const std::string& text);
// The same list as the shortest such text.
std::string layers_text(const std::vector<int64_t>& layers);

class LayerLimits {
 public:
  LayerLimits() = default;  // none
  explicit LayerLimits(const Constraints& constraints);
  // Lists that do not sum to the model's layers; a smallest number above the largest.
  std::optional<Error> problem(const ModelSpec& model) const;

  // Whether a plan may have so many chunks: any, unless lists are pinned.
  bool take(int64_t chunks) const { return !pinned_ || of(chunks) != nullptr; }
  // The pinned list of so many chunks. Null: none is.
  const std::vector<int64_t>* of(int64_t chunks) const;
  bool leaves_empty() const;                // some chunk of a pinned list
  int64_t least() const { return least_; }  // of every chunk; 0: no limit
  std::optional<int64_t> most() const { return most_; }

 private:
  bool pinned_ = false;
  std::vector<std::vector<int64_t>> lists_;
  int64_t least_ = 0;
  std::optional<int64_t> most_;
};

}  // namespace shardwright
