// Factors: the few figures of the time model that operator tables cannot give and published runs
// can: how much slower long runs are than short benchmarks, what a framework's passes and its host
// cost, what overlapping costs. Each belongs to a device, an interconnect or a software stack,
// never to a record, a paper or a model.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>

#include "costmodel/json.h"

namespace shardwright {

enum class Factor {
  // Of a device.
  kGemm,
  kFp8Gemm,
  kAttention,
  kFlash2,
  kUnaligned,
  kUnalignedBatch,
  kNodeLink,
  // Of an interconnect.
  kNetwork,
  kSkew,
  // Of a software stack.
  kPace,
  kPass,
  kStackAttention,
  kSpecialAttention,
  kQuantise,
  kPermute,
  kHostStep,
  kHostMoe,
  kDrag,
  kMessage,
  kMember,
  kFixed,
  kCount
};
constexpr size_t kNumFactors = static_cast<size_t>(Factor::kCount);
enum class FactorOwner { kDevice, kInterconnect, kStack };
const char* name_of(FactorOwner owner);  // "device", "interconnect", "stack"

struct FactorInfo {
  const char* name;
  FactorOwner owner;
  const char* unit;
  double neutral;    // no effect: what simulate assumes
  double usual;      // median over the owners known, before any run is seen
  double spread;     // standard deviation of ln(value) between owners: the prior of a new one
  double low, high;  // the plausible range
  const char* reason;
};
const std::array<FactorInfo, kNumFactors>& factor_infos();
const FactorInfo& info_of(Factor factor);

// One value each, resolved for a device, an interconnect and a stack.
struct Factors {
  std::array<double, kNumFactors> values;
  double at(Factor factor) const { return values[static_cast<size_t>(factor)]; }
  double& at(Factor factor) { return values[static_cast<size_t>(factor)]; }
};
Factors neutral_factors();

// Fitted values by owner. A factor that its owner does not list has the value of the owner's family
// (profiles/families.json), which stands among the owners under its own name, else the usual value.
struct FactorTable {
  using Values = std::map<std::string, std::map<Factor, double>>;  // owner, factor
  // By owner kind.
  std::array<Values, 3> of;
  std::array<Values, 3> uncertainty;                         // standard deviation of ln(value)
  std::array<std::map<std::string, std::string>, 3> family;  // of an owner
  // As FactorInfo has them, or refitted: `spread` of an owner of no known family, `within` of one
  // around its family.
  std::array<double, kNumFactors> usual, spread, within;
  FactorTable();
  Factors resolve(const std::string& device, const std::string& interconnect,
                  const std::string& stack) const;
  double value(Factor factor, const std::string& owner) const;
  // Standard deviation of ln(value) that is left after all runs that were seen.
  double doubt(Factor factor, const std::string& owner) const;
  const std::string& family_of(FactorOwner kind, const std::string& owner) const;  // "": none
};
// {"usual": {...}, "spread": {...}, "within": {...}, "device": {"h100-sxm-80gb": {"gemm": 1.2,
// ...}, ...}, "interconnect": ..., "stack": ..., "uncertainty": {"device": ..., ...}}, without the
// families.
Json to_json(const FactorTable& table);
Result<FactorTable> read_factors(const Json& json, const std::string& file);
// profiles/families.json: {"schema": ..., "device": [{"family": "hopper", "reason": "...",
// "members": [...]}, ...], "stack": [...]} into table->family.
std::optional<Error> read_families(const Json& json, const std::string& file, FactorTable* table);

}  // namespace shardwright
