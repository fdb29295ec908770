// Constraints: what a user fixes, bounds or forbids of a plan's choices. Every choice has a name;
// a value is allowed when it obeys all that was said about its name.
//
// The layers per chunk, stage_layers, are pinned as a list (layer_limits.h) or bounded for every
// chunk. overlap_tensor, overlap_pipeline and overlap_experts are what the framework does as long
// as nothing is said about them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/result.h"

namespace shardwright {

enum class ConstraintKind { kPin, kBan, kMin, kMax };

// Shares of saved activations that may go to the host, as a user names them.
struct OffloadShare {
  const char* name;
  double share;
};
constexpr OffloadShare kOffloadShares[] = {{"0", 0}, {"0.5", 0.5}, {"1", 1}};

class Constraints {
 public:
  // "tp=8", "schedule=1f1b", "recompute=full". A pin or ban may name several values: "tp=4|8".
  // An error names what choices there are, or what the choice's values are.
  std::optional<Error> add(ConstraintKind kind, const std::string& text);

  // One more pin, beside what the user said about the same choice: both are obeyed. REQUIRES: a
  // name and a value that add() accepts.
  void narrow(const std::string& name, const std::string& value);

  bool allows(const std::string& name, int64_t value) const;
  bool allows(const std::string& name, const std::string& value) const;
  bool allows(const std::string& name, bool value) const {
    return allows(name, std::string(value ? "true" : "false"));
  }
  bool allows(const std::string& name, const char* value) const {
    return allows(name, std::string(value));
  }
  // Those of `values` that are allowed, in their order.
  std::vector<int64_t> allowed(const std::string& name, const std::vector<int64_t>& values) const;
  bool empty() const { return rules_.empty(); }
  std::vector<std::string> names() const;  // of which anything is said, each once
  // The one value that is pinned, if any.
  std::optional<std::string> pinned(const std::string& name) const;
  // The values that all pins of the name have. None: nothing is pinned.
  std::optional<std::vector<std::string>> pins_of(const std::string& name) const;
  // The limit that kMin or kMax sets, if any.
  std::optional<int64_t> bound(ConstraintKind kind, const std::string& name) const;
  // A switch of which neither value is allowed. "": there is none.
  std::string stuck_switch() const;

 private:
  struct Rule {
    ConstraintKind kind;
    std::vector<std::string> values;
    int64_t limit = 0;  // of kMin and kMax
  };
  std::multimap<std::string, Rule> rules_;
};

}  // namespace shardwright
