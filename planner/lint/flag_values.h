// The options of one command line, by the table of the framework's flags.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/export/framework.h"
#include "planner/lint/shell.h"

namespace shardwright {

// Getters record the first error; a reader goes straight down and asks for it at the end.
class FlagValues {
 public:
  FlagValues(Framework framework, std::string file)
      : framework_(framework), file_(std::move(file)) {}

  // The command of `script` with most known flags, its launcher's options apart.
  static FlagValues of_script(Framework framework, const KnownFlags& known,
                              const ShellScript& script, const std::string& file);

  // Notes a repetition with another value; the last one counts.
  void add(const std::string& name, std::vector<std::string> values);
  void set_ranks(std::optional<int64_t> ranks) { ranks_ = ranks; }

  bool has(const std::string& name) const { return values_.count(name) > 0; }
  int64_t integer(const std::string& name, int64_t fallback) const;
  double number(const std::string& name, double fallback) const;
  std::string text(const std::string& name, const std::string& fallback = "") const;
  const std::map<std::string, std::vector<std::string>>& values() const { return values_; }
  // As keys of configurations say it: true, false, True, 1, null.
  bool truth(const std::string& name, bool fallback) const;
  const std::vector<std::string>& all(const std::string& name) const;

  std::optional<int64_t> ranks() const { return ranks_; }  // that the launcher starts
  const std::vector<std::string>& unknown() const { return unknown_; }
  const std::vector<std::string>& repeated() const { return repeated_; }
  const std::vector<std::string>& words() const { return positional_; }
  size_t known_flags() const { return values_.size(); }
  Framework framework() const { return framework_; }
  const std::string& file() const { return file_; }
  const std::optional<Error>& error() const { return error_; }
  void fail(const std::string& name, const std::string& found, const std::string& expected) const;

 private:
  void read_arguments(const KnownFlags& known, const std::vector<std::string>& words, size_t first);
  void read_launcher(const std::vector<std::string>& words, size_t end);

  Framework framework_;
  std::string file_;
  std::map<std::string, std::vector<std::string>> values_;
  std::map<std::string, std::string> launcher_;
  std::vector<std::string> unknown_, repeated_, positional_;
  std::optional<int64_t> ranks_;
  mutable std::optional<Error> error_;
};

}  // namespace shardwright
