#include <algorithm>
#include <sstream>

#include "planner/records/run_case.h"

namespace shardwright {
namespace {

// A chunk has at least one layer and no more than this many chunks are laid out.
constexpr int64_t kMaxChunks = 4096;

class PlanReader {
 public:
  PlanReader(const Record& record, const ModelSpec& model, const RuleList& stacks)
      : r_(record), model_(model), stacks_(stacks) {}

  Result<Plan> read() {
    degrees();
    batch();
    if (!error_) precision();
    if (!error_) recompute();
    if (!error_) sharding();
    if (!error_) overlap();
    if (!error_) layers();
    if (error_) return *error_;
    return plan_;
  }

 private:
  void fail(const std::string& field, const std::string& found, const std::string& expected) {
    if (!error_) error_ = Error{r_.id, field, found, expected};
  }
  void divides(int64_t degree, int64_t count, const char* field, const std::string& what) {
    if (count % degree != 0) {
      fail(field, std::to_string(degree), "a divisor of " + std::to_string(count) + " " + what);
    }
  }
  bool by_default(const char* key) const { return stacks_.number(r_, key).value_or(0) > 0; }

  void degrees() {
    const RecordParallel& p = r_.parallel;
    if (!p.tp || !p.pp || !p.dp) {
      return fail("parallel", "no tp, pp or dp", "the layout: the record does not print it");
    }
    plan_.tp = *p.tp;
    plan_.pp = *p.pp;
    plan_.dp = *p.dp;
    plan_.split.cp = p.cp.value_or(1);
    plan_.virtual_stages = plan_.pp > 1 ? p.vpp.value_or(1) : 1;
    // Each degree is at most 2^20: the product of four stays within 2^80 only as a floating number.
    const double ranks = static_cast<double>(plan_.tp) * static_cast<double>(plan_.pp) *
                         static_cast<double>(plan_.dp) * static_cast<double>(plan_.split.cp);
    if (ranks != static_cast<double>(r_.cluster.gpus)) {
      return fail("parallel",
                  "tp " + std::to_string(plan_.tp) + " * pp " + std::to_string(plan_.pp) +
                      " * dp " + std::to_string(plan_.dp) + " * cp " +
                      std::to_string(plan_.split.cp),
                  "a product of " + std::to_string(r_.cluster.gpus) + " gpus");
    }
    widths();
    if (!error_ && model_.kinds.back().moe.experts > 0) experts();
    if (stacks_.text(r_, "cp_kind") == "all_to_all") plan_.split.cp_kind = CpKind::kAllToAll;
    plan_.split.sequence_parallel = plan_.tp > 1 && p.sp.value_or(by_default("sequence_parallel"));
  }

  void widths() {
    for (const LayerSpec& kind : model_.kinds) {
      const AttentionSpec& a = kind.attention;
      divides(plan_.tp, a.heads, "parallel.tp", "heads");
      if (!a.mla() && a.kv_heads % plan_.tp != 0 && plan_.tp % a.kv_heads != 0) {
        fail("parallel.tp", std::to_string(plan_.tp),
             "a divisor or multiple of " + std::to_string(a.kv_heads) + " KV heads");
      }
      if (kind.moe.experts == 0)
        divides(plan_.tp, kind.mlp.ffn_hidden, "parallel.tp", "MLP columns");
    }
  }

  // One tensor-parallel group inside an expert as outside, unless that leaves too few ranks.
  void experts() {
    const MoeSpec& moe = model_.kinds.back().moe;
    const int64_t block = plan_.tp * plan_.split.cp * plan_.dp;
    plan_.split.ep = r_.parallel.ep.value_or(std::min(moe.experts, block / plan_.tp));
    divides(plan_.split.ep, moe.experts, "parallel.ep", "experts");
    const int64_t usual = by_default("expert_tp_1") ? 1 : plan_.tp;
    plan_.split.etp = r_.parallel.etp.value_or(block % (plan_.split.ep * usual) == 0 ? usual : 1);
    if (block % (plan_.split.ep * plan_.split.etp) != 0) {
      fail("parallel.ep",
           std::to_string(plan_.split.ep) + " * etp " + std::to_string(plan_.split.etp),
           "a divisor of the stage's " + std::to_string(block) + " ranks");
    }
  }

  void batch() {
    if (error_) return;
    if (!r_.global_batch) return fail("batch.global", "nothing", "the sequences of a step");
    plan_.global_batch = *r_.global_batch;
    plan_.micro_batch = r_.micro_batch.value_or(1);
    plan_.seq = *r_.model.seq;
    if (plan_.micro_batch > plan_.global_batch ||
        plan_.global_batch % (plan_.dp * plan_.micro_batch) != 0) {
      return fail("batch.global", std::to_string(plan_.global_batch),
                  "a multiple of dp " + std::to_string(plan_.dp) + " * micro " +
                      std::to_string(plan_.micro_batch));
    }
    divides(plan_.split.cp, plan_.seq, "parallel.cp", "tokens of a sequence");
    const double tokens = static_cast<double>(plan_.global_batch) * static_cast<double>(plan_.seq);
    if (tokens > 1e12)
      fail("batch.global", std::to_string(plan_.global_batch), "fewer tokens a step");
  }

  void precision() {
    const std::string usual = stacks_.text(r_, "precision");
    const std::string name = !r_.precision.empty() ? r_.precision : usual.empty() ? "bf16" : usual;
    if (!parse_data_type(name, &plan_.precision)) {
      fail("precision", '"' + printable(name) + '"', "fp32, fp16, bf16, fp8 or nvfp4");
    }
  }

  void recompute() {
    const std::string& text = r_.recompute;
    if (text.empty() || text == "none") return;
    if (text.starts_with("full")) {
      plan_.recompute = Recompute::kFull;
      const std::string& layers = r_.fact("extra.perf_config.recompute_num_layers");
      if (text.find("block") != std::string::npos && !layers.empty() && layers.size() < 5) {
        plan_.recompute_layers = std::max(0, std::atoi(layers.c_str()));
      }
      return;
    }
    if (!text.starts_with("selective")) {
      return fail("recompute", '"' + printable(text) + '"', "none, selective or full");
    }
    plan_.recompute = Recompute::kSelective;
    modules(text.find(':') == std::string::npos ? "" : text.substr(text.find(':') + 1));
  }

  void modules(std::string names) {
    std::replace(names.begin(), names.end(), ',', ' ');
    std::istringstream words(names);
    std::string word;
    while (words >> word) {
      uint32_t bit = 0;
      if (!parse_module(word, &bit)) {
        return fail("recompute", '"' + printable(word) + '"', "a known recompute module");
      }
      plan_.recompute_modules |= bit;
    }
    if (plan_.recompute_modules == 0) plan_.recompute_modules = kRecomputeCoreAttention;
  }

  void sharding() {
    const RecordParallel& p = r_.parallel;
    const bool whole = p.fsdp.value_or(false);
    const int64_t usual = static_cast<int64_t>(stacks_.number(r_, "zero").value_or(0));
    plan_.zero = p.zero.value_or(whole ? 3 : r_.is("features.distributed_optimizer") ? 1 : usual);
    // What its software does where the record only has a guess.
    plan_.zero = static_cast<int64_t>(
        stacks_.number(r_, "zero_is").value_or(static_cast<double>(plan_.zero)));
    // Sharded within groups of so many replicas, and copied across groups.
    const int64_t group = std::atoi(r_.fact("features.zero1_shard_size").c_str());
    if (group > 0 && plan_.dp % group == 0) plan_.shard_group = group;
    const int64_t away = std::atoi(r_.fact("extra.perf_config.cpu_offloading_num_layers").c_str());
    if (away > 0) {
      plan_.activation_offload = std::min(
          1.0, static_cast<double>(away * plan_.pp) / static_cast<double>(model_.layers()));
    }
    if (r_.is("features.cpu_offload")) plan_.optimizer_offload = 1;
  }

  void overlap() {
    const bool usual = by_default("overlap");
    const std::string& dp = r_.fact("features.overlap_dp");
    plan_.overlap.gradients = dp.empty() ? usual : dp == "true";
    const std::string& gather = r_.fact("features.overlap_param_gather");
    plan_.overlap.parameters = gather.empty() ? plan_.overlap.gradients : gather == "true";
    plan_.overlap.tensor = r_.is("features.tp_comm_overlap") || r_.is("features.async_tp");
    plan_.overlap.experts =
        r_.is("extra.moe_ep_overlap") || r_.is("extra.perf_config.moe_a2a_overlap");
  }

  void layers() {
    const int64_t chunks = plan_.pp * plan_.virtual_stages;
    if (chunks > kMaxChunks || model_.layers() + (plan_.virtual_stages > 1 ? 2 : 0) < chunks) {
      return fail("parallel.pp",
                  std::to_string(plan_.pp) + " * vpp " + std::to_string(plan_.virtual_stages),
                  "at most one chunk for each of " + std::to_string(model_.layers()) + " layers");
    }
    for (const char* key : {"extra.pp_layout", "extra.perf_config.pp_layout"}) {
      const std::vector<int64_t> printed = layers_of_layout(r_.fact(key));
      int64_t sum = 0;
      for (int64_t count : printed) sum += count;
      if (static_cast<int64_t>(printed.size()) != chunks || sum != model_.layers()) continue;
      plan_.stage_layers = printed;
      return;
    }
    plan_.stage_layers = usual_layers(model_.layers(), chunks, model_.mtp_layers > 0);
  }

  const Record& r_;
  const ModelSpec& model_;
  const RuleList& stacks_;
  Plan plan_;
  std::optional<Error> error_;
};

// Expands the layout's repetitions; nesting and length are bounded.
class LayoutText {
 public:
  explicit LayoutText(const std::string& text) : text_(text) {}
  std::string expand() {
    std::string out = sequence(0);
    return at_ == text_.size() && ok_ ? out : "";
  }

 private:
  std::string sequence(int depth) {
    std::string out;
    while (ok_ && at_ < text_.size() && text_[at_] != ')') {
      std::string item = one(depth);
      const int64_t times = repetitions();
      if (static_cast<int64_t>(item.size()) * times + static_cast<int64_t>(out.size()) >
          kMaxChunks * 8) {
        ok_ = false;
        break;
      }
      for (int64_t i = 0; i < times; ++i) out += item;
    }
    return out;
  }
  std::string one(int depth) {
    const char c = text_[at_++];
    if (c != '(') return std::string(1, c);
    if (depth >= 8) ok_ = false;
    std::string inner = ok_ ? sequence(depth + 1) : "";
    if (at_ >= text_.size()) {
      ok_ = false;
    } else {
      ++at_;
    }
    return inner;
  }
  int64_t repetitions() {
    if (at_ >= text_.size() || text_[at_] != '*') return 1;
    int64_t times = 0;
    for (++at_; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      times = std::min<int64_t>(times * 10 + (text_[at_] - '0'), kMaxChunks * 8);
    }
    return times;
  }
  const std::string& text_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace

std::vector<int64_t> layers_of_layout(const std::string& text) {
  if (text.size() > 4096) return {};
  std::vector<int64_t> layers;
  const std::string expanded = LayoutText(text).expand();
  if (expanded.empty()) return {};
  layers.push_back(0);
  for (const char c : expanded) {
    if (c == '|') layers.push_back(0);
    if (c == 't') ++layers.back();
  }
  return layers;
}

// Even where that goes. Else embedding and head take the place of layers, as frameworks lay out
// models whose layers do not divide: one each (BLOOM: 70 + 2 over 12 stages), or at the end alone
// 2, or 3 with a multi-token-prediction module (DeepSeek-V3: 61 + 3 over 16 chunks). Else the first
// chunks get one more.
std::vector<int64_t> usual_layers(int64_t layers, int64_t chunks, bool mtp) {
  std::vector<int64_t> out(static_cast<size_t>(chunks), layers / chunks);
  const int64_t rest = layers % chunks;
  if (rest == 0) return out;
  const auto whole = [&](int64_t first, int64_t last) {
    const int64_t each = (layers + first + last) / chunks;
    if ((layers + first + last) % chunks != 0 || each < std::max(first, last)) return false;
    out.assign(out.size(), each);
    out.front() -= first;
    out.back() -= last;
    return true;
  };
  if (mtp && whole(0, 3)) return out;
  if (whole(1, 1) || whole(0, 1) || whole(0, 2)) return out;
  for (int64_t i = 0; i < rest; ++i) ++out[static_cast<size_t>(i)];
  return out;
}

Result<Plan> plan_of(const Record& record, const ModelSpec& model, const RuleList& stacks) {
  return PlanReader(record, model, stacks).read();
}

}  // namespace shardwright
