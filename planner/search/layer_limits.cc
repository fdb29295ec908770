#include "planner/search/layer_limits.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace shardwright {
namespace {

constexpr const char* kName = "stage_layers";
constexpr int64_t kMostChunks = int64_t{1} << 16;
constexpr int64_t kMostLayers = int64_t{1} << 20;  // of a chunk

// "4x6" or "4". False: neither.
bool parse_run(const std::string& text, int64_t* layers, int64_t* times) {
  const char* const end = text.data() + text.size();
  auto [at, status] = std::from_chars(text.data(), end, *layers);
  *times = 1;
  if (status == std::errc() && at != end && *at == 'x') {
    const auto second = std::from_chars(at + 1, end, *times);
    at = second.ptr;
    status = second.ec;
  }
  return status == std::errc() && at == end && *layers >= 0 && *layers <= kMostLayers &&
         *times >= 1 && *times <= kMostChunks;
}

}  // namespace

std::vector<int64_t> parse_layers(const std::string& text) {
  std::vector<int64_t> out;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('+', start), text.size());
    int64_t layers = 0, times = 0;
    if (!parse_run(text.substr(start, end - start), &layers, &times)) return {};
    if (static_cast<int64_t>(out.size()) + times > kMostChunks) return {};
    out.insert(out.end(), times, layers);
    start = end + 1;
  }
  return out;
}

std::string layers_text(const std::vector<int64_t>& layers) {
  std::string out;
  for (size_t i = 0; i < layers.size();) {
    size_t run = i;
    while (run < layers.size() && layers[run] == layers[i]) ++run;
    out += (i > 0 ? "+" : "") + std::to_string(layers[i]);
    if (run - i > 1) out += "x" + std::to_string(run - i);
    i = run;
  }
  return out;
}

LayerLimits::LayerLimits(const Constraints& constraints)
    : least_(constraints.bound(ConstraintKind::kMin, kName).value_or(0)),
      most_(constraints.bound(ConstraintKind::kMax, kName)) {
  const std::optional<std::vector<std::string>> texts = constraints.pins_of(kName);
  pinned_ = texts.has_value();
  if (!texts) return;
  for (const std::string& text : *texts) lists_.push_back(parse_layers(text));
}

std::optional<Error> LayerLimits::problem(const ModelSpec& model) const {
  const auto error = [](const char* kind, const std::string& found, const std::string& expected) {
    return Error{"command line", kind + std::string(" ") + kName, found, expected};
  };
  for (const std::vector<int64_t>& list : lists_) {
    const int64_t sum = std::accumulate(list.begin(), list.end(), int64_t{0});
    if (sum != model.layers()) {
      return error("pin", layers_text(list) + ", " + std::to_string(sum) + " layers",
                   std::to_string(model.layers()) + ", as the model has");
    }
    if (of(static_cast<int64_t>(list.size())) != &list) {
      return error("pin", "two lists of " + std::to_string(list.size()) + " chunks",
                   "one for a number of chunks");
    }
  }
  if (most_ && least_ > *most_) {
    return error("min", std::to_string(least_),
                 "no more than the largest number, " + std::to_string(*most_));
  }
  return std::nullopt;
}

bool LayerLimits::leaves_empty() const {
  return std::any_of(lists_.begin(), lists_.end(), [](const std::vector<int64_t>& list) {
    return std::find(list.begin(), list.end(), 0) != list.end();
  });
}

const std::vector<int64_t>* LayerLimits::of(int64_t chunks) const {
  const auto found = std::find_if(lists_.begin(), lists_.end(), [&](const auto& list) {
    return static_cast<int64_t>(list.size()) == chunks;
  });
  return found == lists_.end() ? nullptr : &*found;
}

}  // namespace shardwright
