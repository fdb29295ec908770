#include "costmodel/work.h"

#include <algorithm>
#include <array>

namespace shardwright {
namespace {

constexpr std::array<const char*, 3> kLayoutNames = {"forward", "input_grad", "weight_grad"};

constexpr std::array<const char*, static_cast<size_t>(PassKind::kCount)> kPassNames = {
    "embedding",   "embedding_grad", "layer_norm", "layer_norm_grad",
    "rms_norm",    "rms_norm_grad",  "add_norm",   "add",
    "rope",        "gelu",           "gelu_grad",  "swiglu",
    "swiglu_grad", "loss_local",     "loss_grad",  "adamw",
    "sgd",         "square_sum",     "fill",       "copy",
    "quantise"};
static_assert(kPassNames.back() != nullptr, "every PassKind has a name");

constexpr std::array<const char*, 7> kCollectiveNames = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send", "receive"};

template <typename Enum, size_t kSize>
bool parse_name(const std::array<const char*, kSize>& names, const std::string& name, Enum* out) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return false;
  *out = static_cast<Enum>(found - names.begin());
  return true;
}

std::string text(int64_t value) { return std::to_string(value); }

std::string describe_one(const GemmWork& work) {
  std::string out = std::string("gemm ") + name_of(work.layout) + " " + text(work.m) + "x" +
                    text(work.n) + "x" + text(work.k);
  return work.count == 1 ? out : out + " x " + text(work.count);
}

std::string describe_one(const AttentionWork& work) {
  std::string out = std::string("attention ") + (work.backward ? "backward " : "forward ") +
                    text(work.batch) + "x" + text(work.seq) + ", heads " + text(work.heads) + "/" +
                    text(work.kv_heads) + " of " + text(work.head_dim);
  if (work.v_head_dim != work.head_dim) out.append("/").append(text(work.v_head_dim));
  return work.window == 0 ? out : out + ", window " + text(work.window);
}

std::string describe_one(const PassWork& work) {
  const std::string out =
      std::string(name_of(work.kind)) + " " + text(work.rows) + "x" + text(work.cols);
  return work.count == 1 ? out : out + " x " + text(work.count);
}

std::string describe_one(const CollectiveWork& work) {
  return std::string(name_of(work.kind)) + " " + name_of(work.axis) + " " + text(work.bytes) +
         " bytes";
}

}  // namespace

const char* name_of(GemmLayout layout) { return kLayoutNames.at(static_cast<size_t>(layout)); }
const char* name_of(PassKind kind) { return kPassNames.at(static_cast<size_t>(kind)); }
const char* name_of(CollectiveKind kind) { return kCollectiveNames.at(static_cast<size_t>(kind)); }

bool parse_pass_kind(const std::string& name, PassKind* out) {
  return parse_name(kPassNames, name, out);
}

bool parse_collective_kind(const std::string& name, CollectiveKind* out) {
  return parse_name(kCollectiveNames, name, out);
}

double AttentionWork::pairs() const {
  const double length = static_cast<double>(seq);
  if (window <= 0 || window >= seq) return length * (length + 1) / 2;
  const double width = static_cast<double>(window);
  return width * (width + 1) / 2 + (length - width) * width;
}

// Forward: q k^T over head_dim, p v over v_head_dim. Backward: q k^T again, dq and dk over
// head_dim; dp = do v^T and dv over v_head_dim, so 2.5 times the forward when both are equal.
double AttentionWork::flops() const {
  const double width = backward ? 3.0 * head_dim + 2.0 * v_head_dim : 1.0 * head_dim + v_head_dim;
  return 2.0 * batch * heads * pairs() * width / static_cast<double>(cp);
}

Bytes AttentionWork::bytes() const {
  const int64_t per_token = (heads + kv_heads) * (head_dim + v_head_dim);
  return (backward ? 2 : 1) * batch * seq / cp * per_token * size_of(type);
}

std::string describe(const Work& work) {
  return std::visit([](const auto& one) { return describe_one(one); }, work);
}

}  // namespace shardwright
