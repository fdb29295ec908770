// Rules about records: data files under profiles/records that say, by source, framework, year and
// the like, what a record itself does not: how its figures become seconds, which stack and device
// it ran on, what is missing. {"schema": "shardwright.rules/1", "rules": [{"if": {...}, "then":
// {...}, "reason": "..."}]}, the first rule whose conditions all hold decides.
//
// Conditions: "source", "where", "framework", "convention", "notes", "id", "model", "family",
// "gpu", "inter", "intra", "precision", "recompute" hold when the record's text contains the given
// one, or one of a list, without regard to case; "no_TEXTFIELD" when it contains none. "year_from",
// "year_to", "gpus_from", "gpus_to", "tp_from", "tp_to" bound numbers; "moe" and "multi_node" are
// truth values; "fact" maps keys of Record::facts to texts that they must contain ("" = absent);
// "missing" lists fields that must be empty: "vpp", "micro"; "pp_from" bounds pp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "planner/records/record.h"

namespace shardwright {

class RuleList {
 public:
  RuleList();
  ~RuleList();
  RuleList(RuleList&&) noexcept;
  RuleList& operator=(RuleList&&) noexcept;

  // `allowed`: the keys that "then" may have. A rule that holds and has `last_key` ends the list:
  // no later rule adds to it.
  static Result<RuleList> load(const std::string& path, const std::vector<const char*>& allowed,
                               const std::string& last_key = "");

  struct Rule;
  // The first rule that holds, or nullptr.
  const Rule* first(const Record& record) const;
  // All that hold, in order.
  std::vector<const Rule*> all(const Record& record) const;
  // Of several rules in order: the first that has `key` in its "then" decides it.
  std::string text(const Record& record, const std::string& key) const;  // "" when none has it
  std::optional<double> number(const Record& record, const std::string& key) const;
  std::vector<std::string> texts(const Record& record, const std::string& key) const;

  static const std::string& reason_of(const Rule& rule);
  static std::string text_of(const Rule& rule, const std::string& key);
  static std::optional<double> number_of(const Rule& rule, const std::string& key);
  size_t size() const;

 private:
  std::vector<Rule> rules_;
  std::string last_key_;
};

}  // namespace shardwright
