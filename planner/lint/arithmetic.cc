#include "planner/lint/arithmetic.h"

#include <cstdlib>

namespace shardwright {

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

namespace {

constexpr int kMaxDepth = 16;  // of brackets inside brackets

class Arithmetic {
 public:
  Arithmetic(std::string_view text, const ShellVariables& known) : text_(text), known_(known) {}
  std::optional<int64_t> value() {
    const int64_t out = sum(0);
    skip();
    if (!ok_ || at_ != text_.size()) return std::nullopt;
    return out;
  }

 private:
  void skip() {
    while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == '\n')) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  // Values beyond 10^12 are nothing that a job's sizes reach: refused before they overflow.
  int64_t bounded(double value) {
    if (value > 1e12 || value < -1e12) ok_ = false;
    return ok_ ? static_cast<int64_t>(value) : 0;
  }
  int64_t sum(int depth) {
    int64_t out = product(depth);
    for (;;) {
      if (take('+')) {
        out = bounded(static_cast<double>(out) + static_cast<double>(product(depth)));
      } else if (take('-')) {
        out = bounded(static_cast<double>(out) - static_cast<double>(product(depth)));
      } else {
        return out;
      }
    }
  }
  int64_t product(int depth) {
    int64_t out = one(depth);
    for (;;) {
      if (take('*')) {
        out = bounded(static_cast<double>(out) * static_cast<double>(one(depth)));
      } else if (take('/') || take('%')) {
        const bool rest = text_[at_ - 1] == '%';
        const int64_t by = one(depth);
        if (by == 0) {
          ok_ = false;
          return 0;
        }
        out = rest ? out % by : out / by;
      } else {
        return out;
      }
    }
  }
  int64_t one(int depth) {
    if (depth > kMaxDepth) ok_ = false;
    if (!ok_) return 0;
    if (take('(')) {
      const int64_t out = sum(depth + 1);
      ok_ = ok_ && take(')');
      return out;
    }
    skip();
    if (at_ < text_.size() && text_[at_] == '$') ++at_;
    const bool braced = at_ < text_.size() && text_[at_] == '{';
    if (braced) ++at_;
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    if (braced) ok_ = ok_ && take('}');
    if (!word.empty() && (word[0] < '0' || word[0] > '9')) {
      const auto found = known_.find(word);
      word = found != known_.end() && found->second.size() == 1 ? found->second[0] : "";
    }
    if (word.empty() || word.size() > 12 ||
        word.find_first_not_of("0123456789") != std::string::npos) {
      ok_ = false;
      return 0;
    }
    return std::atoll(word.c_str());
  }

  std::string_view text_;
  const ShellVariables& known_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace

std::optional<int64_t> arithmetic_value(std::string_view text, const ShellVariables& known) {
  return Arithmetic(text, known).value();
}

}  // namespace shardwright
