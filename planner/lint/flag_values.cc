#include "planner/lint/flag_values.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "costmodel/json.h"

namespace shardwright {
namespace {

using Words = std::vector<std::string>;

// What torchtitan's parser takes for the same name.
std::string usual_name(Framework framework, std::string name) {
  if (framework != Framework::kTorchtitan || name.rfind("--", 0) != 0) return name;
  std::replace(name.begin() + 2, name.end(), '-', '_');
  return name;
}

struct Option {
  std::string name;
  std::optional<std::string> value;  // after '='
};
Option split(Framework framework, const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return {usual_name(framework, word), std::nullopt};
  return {usual_name(framework, word.substr(0, equals)), word.substr(equals + 1)};
}

// KEY=VALUE with a dotted key, with Hydra's + or ++ before it; or what is no option.
bool is_override(const std::string& word) {
  const size_t equals = word.find('=');
  return equals != std::string::npos && word.rfind("--", 0) != 0;
}

size_t count_known(Framework framework, const KnownFlags& known, const Words& words) {
  return static_cast<size_t>(
      std::count_if(words.begin(), words.end(), [&](const std::string& word) {
        if (framework == Framework::kNemo && is_override(word)) {
          return known.has(word.substr(word.find_first_not_of("+~"),
                                       word.find('=') - word.find_first_not_of("+~")));
        }
        return word.rfind("--", 0) == 0 && known.has(split(framework, word).name);
      }));
}

// A command inside one word, as after `bash -c`.
bool is_nested(const std::string& word) { return word.find(" --") != std::string::npos; }

void add_commands(const ShellScript& script, int depth, std::vector<Words>* out) {
  for (const ShellCommand& command : script.commands) {
    Words plain;
    for (const std::string& word : command.words) {
      if (depth < 4 && is_nested(word)) {
        const Result<ShellScript> inner = read_shell(word, "");
        if (inner) add_commands(*inner, depth + 1, out);
      } else {
        plain.push_back(word);
      }
    }
    out->push_back(std::move(plain));
  }
}

// Where the training program's own options begin: after NAME.py or -m MODULE.
size_t first_argument(const Words& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() > 3 && word.compare(word.size() - 3, 3, ".py") == 0) return i + 1;
    if (word == "-m" && i + 1 < words.size() && words[i + 1].rfind("torch.distributed", 0) != 0) {
      return i + 2;
    }
  }
  return 0;
}

std::optional<int64_t> whole(const std::string& text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (errno != 0 || end != text.c_str() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

FlagValues FlagValues::of_script(Framework framework, const KnownFlags& known,
                                 const ShellScript& script, const std::string& file) {
  std::vector<Words> commands;
  add_commands(script, 0, &commands);
  size_t most = 0;
  const Words* best = nullptr;
  for (const Words& words : commands) {
    const size_t count = count_known(framework, known, words);
    if (count > most) {
      most = count;
      best = &words;
    }
  }
  FlagValues out(framework, file);
  if (best == nullptr) return out;
  const size_t first = first_argument(*best);
  out.read_launcher(script.directives, script.directives.size());
  out.read_launcher(*best, first);
  out.read_arguments(known, *best, first);
  return out;
}

void FlagValues::add(const std::string& name, Words values) {
  const auto found = values_.find(name);
  if (found != values_.end() && found->second != values) {
    repeated_.push_back(name + " is given twice, " +
                        shown(found->second.empty() ? "" : found->second[0]) + " and then " +
                        shown(values.empty() ? "" : values[0]) + ": the last one counts");
  }
  values_[name] = std::move(values);
}

void FlagValues::read_arguments(const KnownFlags& known, const Words& words, size_t first) {
  for (size_t i = first; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.rfind("--", 0) != 0) {
      if (framework_ == Framework::kNemo && is_override(word)) {
        const size_t start = std::min(word.find_first_not_of("+~"), word.size());
        const std::string key = word.substr(start, word.find('=') - start);
        if (known.has(key)) {
          add(key, {word.substr(word.find('=') + 1)});
        } else {
          unknown_.push_back(shown(key));
        }
      } else {
        positional_.push_back(word);
      }
      continue;
    }
    const Option option = split(framework_, word);
    const auto flag = known.flags.find(option.name);
    Words values;
    if (option.value) values.push_back(*option.value);
    const auto take = [&] { values.push_back(words[++i]); };
    const auto more = [&] { return i + 1 < words.size() && words[i + 1].rfind("--", 0) != 0; };
    if (flag == known.flags.end()) {
      unknown_.push_back(shown(option.name));
      while (!option.value && more()) ++i;
      continue;
    }
    const FlagKind kind = flag->second;
    if (kind == FlagKind::kOne && !option.value && i + 1 < words.size()) take();
    if (kind == FlagKind::kAny && !option.value && more()) take();
    if (kind == FlagKind::kMany && !option.value) {
      while (more()) take();
    }
    add(option.name, std::move(values));
  }
}

// torchrun, torch.distributed.launch, srun and sbatch write the same names with - or _.
void FlagValues::read_launcher(const Words& words, size_t end) {
  for (size_t i = 0; i < end; ++i) {
    if (words[i].rfind("--", 0) != 0 && words[i] != "-N" && words[i] != "-n") continue;
    Option option = split(Framework::kTorchtitan, words[i]);
    if (!option.value && i + 1 < end) option.value = words[i + 1];
    launcher_[option.name] = option.value.value_or("");
  }
  const auto find = [&](std::initializer_list<const char*> names) -> std::optional<int64_t> {
    for (const char* name : names) {
      const auto found = launcher_.find(name);
      if (found == launcher_.end()) continue;
      std::string text = found->second;
      if (const size_t colon = text.rfind(':'); colon != std::string::npos) {
        text = text.substr(colon + 1);  // --gpus-per-node=h100:8, --nnodes=1:4
      }
      if (const auto value = whole(text); value && *value > 0) return value;
    }
    return std::nullopt;
  };
  const auto nodes = find({"--nnodes", "--nodes", "-N", "--num_nodes"});
  const auto each =
      find({"--nproc_per_node", "--gpus_per_node", "--ntasks_per_node", "--num_gpus"});
  if (each && *each < (1 << 20) && nodes.value_or(1) < (1 << 20))
    ranks_ = nodes.value_or(1) * *each;
}

void FlagValues::fail(const std::string& name, const std::string& found,
                      const std::string& expected) const {
  if (!error_) error_ = Error{file_, name, found, expected};
}

std::string FlagValues::text(const std::string& name, const std::string& fallback) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return fallback;
  if (found->second.empty()) {
    fail(name, "no value", "one");
    return fallback;
  }
  const std::string& value = found->second.back();
  if (!is_unknown(value)) return value;
  fail(name, shown(value), "a value that the script itself sets");
  return fallback;
}

int64_t FlagValues::integer(const std::string& name, int64_t fallback) const {
  if (!has(name)) return fallback;
  const std::string value = text(name);
  if (error_) return fallback;
  if (value == "null" || value == "None") return fallback;
  const auto number = whole(value);
  if (number && *number >= 0 && *number <= (int64_t{1} << 40)) return *number;
  fail(name, '"' + printable(value) + '"', "a whole number");
  return fallback;
}

double FlagValues::number(const std::string& name, double fallback) const {
  if (!has(name)) return fallback;
  const std::string value = text(name);
  if (error_) return fallback;
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (!value.empty() && end == value.c_str() + value.size() && number >= 0 && number <= 1e15) {
    return number;
  }
  fail(name, '"' + printable(value) + '"', "a number");
  return fallback;
}

bool FlagValues::truth(const std::string& name, bool fallback) const {
  if (!has(name)) return fallback;
  std::string value = text(name);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (value == "true" || value == "1" || value == "yes" || value == "on") return true;
  if (value == "false" || value == "0" || value == "no" || value == "off" || value == "null" ||
      value == "none") {
    return false;
  }
  fail(name, '"' + printable(value) + '"', "true or false");
  return fallback;
}

const std::vector<std::string>& FlagValues::all(const std::string& name) const {
  static const Words kNone;
  const auto found = values_.find(name);
  if (found == values_.end()) return kNone;
  for (const std::string& value : found->second) {
    if (is_unknown(value)) fail(name, shown(value), "values that the script itself sets");
  }
  return found->second;
}

}  // namespace shardwright
