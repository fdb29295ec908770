#include "planner/export/torchtitan_stages.h"

#include <algorithm>
#include <numeric>

namespace shardwright {

std::vector<int64_t> titan_stage_layers(int64_t layers, int64_t stages,
                                        const TitanStages& options) {
  if (stages <= 1) return {layers};
  const int64_t dealt = layers + options.first_less + options.last_less;
  const int64_t each = dealt / stages, rest = dealt % stages;
  if (each < 1 || options.first_less > each || options.last_less > each) return {};
  std::vector<int64_t> out(static_cast<size_t>(stages), each);
  for (int64_t i = 0; i < rest; ++i) ++out[static_cast<size_t>(i)];
  out.front() -= options.first_less;
  out.back() -= options.last_less;
  return out;
}

int64_t titan_num_stages(int64_t layers, const TitanStages& options) {
  const int64_t dealt = layers + options.first_less + options.last_less;
  return (dealt + options.layers_per_stage - 1) / options.layers_per_stage;
}

std::optional<TitanStages> find_stage_options(const Plan& plan) {
  if (plan.pp == 1) return TitanStages();
  const auto stages = static_cast<int64_t>(plan.stage_layers.size());
  const int64_t layers =
      std::accumulate(plan.stage_layers.begin(), plan.stage_layers.end(), int64_t{0});
  const int64_t most = *std::max_element(plan.stage_layers.begin(), plan.stage_layers.end());
  std::vector<TitanStages> tried = {{}};
  for (int64_t first = 0; first <= most; ++first) {
    for (int64_t last = 0; last <= most; ++last) tried.push_back({first, last, 0});
  }
  for (TitanStages& options : tried) {
    if (titan_stage_layers(layers, stages, options) != plan.stage_layers) continue;
    // One stage a rank, and two under schedules of several, need no number.
    const int64_t usual = plan.virtual_stages == 1 ? 1 : 2;
    if (plan.virtual_stages == usual) return options;
    const int64_t dealt = layers + options.first_less + options.last_less;
    options.layers_per_stage = (dealt + stages - 1) / stages;
    if (titan_num_stages(layers, options) == stages) return options;
  }
  return std::nullopt;
}

std::vector<std::string> titan_modules(const Plan& plan) {
  std::vector<std::string> out;
  int64_t layer = 0;
  for (size_t i = 0; i < plan.stage_layers.size(); ++i) {
    std::string modules = i == 0 ? "tok_embeddings" : "";
    for (int64_t end = layer + plan.stage_layers[i]; layer < end; ++layer) {
      modules += (modules.empty() ? "layers." : ",layers.") + std::to_string(layer);
    }
    if (i + 1 == plan.stage_layers.size()) modules += modules.empty() ? "norm" : ",norm";
    if (i + 1 == plan.stage_layers.size()) modules += ",lm_head";
    out.push_back(modules);
  }
  return out;
}

}  // namespace shardwright
