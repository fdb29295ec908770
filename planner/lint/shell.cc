#include "planner/lint/shell.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "costmodel/json.h"
#include "planner/lint/arithmetic.h"

namespace shardwright {
namespace {

constexpr size_t kMaxWord = 1 << 20;   // bytes of a word, expanded
constexpr size_t kMaxWords = 1 << 16;  // of a command
constexpr int kMaxDepth = 16;          // of expansions inside expansions

std::string unknown(std::string_view name) {
  return std::string(1, kUnknown) + std::string(name) + kUnknown;
}

class Reader {
 public:
  Reader(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  Result<ShellScript> read() {
    while (!error_ && at_ < text_.size()) step();
    end_command();
    if (error_) return *error_;
    return std::move(out_);
  }

 private:
  using Fields = std::vector<std::string>;

  void fail(const std::string& found, const std::string& expected) {
    if (error_) return;
    const auto line = std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n') + 1;
    error_ = Error{file_, "line " + std::to_string(line), found, expected};
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void step() {
    const char c = peek();
    if (is_blank(c)) {
      ++at_;
    } else if (c == '\\' && peek(1) == '\n') {
      at_ += 2;
    } else if (c == '\\' && peek(1) == '\r' && peek(2) == '\n') {
      at_ += 3;
    } else if (c == '#') {
      comment();
    } else if (c == '<' || c == '>') {
      redirection();
    } else if (c == '\n' || c == ';' || c == '&' || c == '|' || c == '(' || c == ')') {
      ++at_;
      end_command();
      if (c == '\n') skip_here_documents();
    } else {
      word();
    }
  }

  void comment() {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string line(text_.substr(at_, end - at_));
    at_ = end;
    if (line.rfind("#SBATCH", 0) != 0) return;
    size_t i = 7;
    while (i < line.size()) {
      while (i < line.size() && is_blank(line[i])) ++i;
      size_t stop = i;
      while (stop < line.size() && !is_blank(line[stop])) ++stop;
      if (stop > i) out_.directives.push_back(line.substr(i, stop - i));
      i = stop;
    }
  }

  void redirection() {
    const bool here = peek() == '<' && peek(1) == '<' && peek(2) != '<';
    while (peek() == '<' || peek() == '>' || peek() == '&' || peek() == '-') ++at_;
    while (is_blank(peek())) ++at_;
    const Fields target = expand(false, 0);
    if (here && !target.empty()) here_documents_.push_back(target[0]);
  }
  void skip_here_documents() {
    for (const std::string& end : here_documents_) {
      while (at_ < text_.size()) {
        const size_t stop = std::min(text_.find('\n', at_), text_.size());
        std::string_view line = text_.substr(at_, stop - at_);
        at_ = std::min(stop + 1, text_.size());
        while (!line.empty() && line.front() == '\t') line.remove_prefix(1);
        if (line == end) break;
      }
    }
    here_documents_.clear();
  }

  void end_command() {
    if (!words_.empty()) out_.commands.push_back({std::move(words_)});
    words_.clear();
  }

  bool is_prefix_of_assignment() const {
    static constexpr const char* kDeclare[] = {"export", "declare", "local", "readonly", "typeset"};
    if (words_.empty()) return true;
    const bool declares = std::any_of(std::begin(kDeclare), std::end(kDeclare),
                                      [&](const char* name) { return words_[0] == name; });
    static constexpr const char* kKeywords[] = {"then", "else", "do", "{", "!", "time", "env"};
    const bool keyword = std::any_of(std::begin(kKeywords), std::end(kKeywords),
                                     [&](const char* k) { return words_.back() == k; });
    return declares || keyword;
  }

  void word() {
    if (is_prefix_of_assignment() && assignment()) return;
    size_t digits = at_;
    while (digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9') ++digits;
    if (digits > at_ && digits < text_.size() && (text_[digits] == '>' || text_[digits] == '<')) {
      at_ = digits;  // the number of a redirected stream
      return;
    }
    Fields fields = expand(false, 0);
    words_.insert(words_.end(), fields.begin(), fields.end());
    if (words_.size() > kMaxWords)
      fail("more than " + std::to_string(kMaxWords) + " words", "fewer");
  }

  // NAME=, NAME+=, NAME=( ... ).
  bool assignment() {
    size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    const bool adds = end + 1 < text_.size() && text_[end] == '+' && text_[end + 1] == '=';
    const size_t equals = adds ? end + 1 : end;
    if (end == at_ || equals >= text_.size() || text_[equals] != '=') return false;
    if (text_[at_] >= '0' && text_[at_] <= '9') return false;
    const std::string name(text_.substr(at_, end - at_));
    at_ = equals + 1;
    Fields value = peek() == '(' ? array() : scalar();
    Fields& held = variables_[name];
    if (!adds) {
      held = std::move(value);
    } else if (is_array_) {
      held.insert(held.end(), value.begin(), value.end());
    } else {
      held.resize(std::max<size_t>(held.size(), 1));
      held.back() += value.empty() ? "" : value[0];
      if (held.back().size() > kMaxWord) fail("a variable that grows", "a shorter one");
    }
    return true;
  }
  Fields scalar() {
    is_array_ = false;
    const char c = peek();
    if (c == '\0' || is_blank(c) || c == '\n' || c == ';') return {""};
    return expand(true, 0);
  }
  Fields array() {
    ++at_;
    Fields out;
    while (!error_) {
      const char c = peek();
      if (at_ >= text_.size()) {
        fail("an array that does not end", "a closing bracket");
      } else if (c == ')') {
        ++at_;
        break;
      } else if (is_blank(c) || c == '\n') {
        ++at_;
      } else if (c == '\\' && (peek(1) == '\n' || peek(1) == '\r')) {
        at_ += 2;
      } else if (c == '#') {
        comment();
      } else {
        const size_t before = at_;
        Fields fields = expand(false, 0);
        out.insert(out.end(), fields.begin(), fields.end());
        if (at_ == before) ++at_;  // an operator that has no meaning here
      }
      if (out.size() > kMaxWords) fail("a long array", "a shorter one");
    }
    is_array_ = true;
    return out;
  }

  // One word: its fields after expansion. `whole`: as in an assignment, never split.
  Fields expand(bool whole, int depth) {
    Fields out;
    std::string field;
    bool started = false;
    const auto add_split = [&](const std::string& value) {
      for (const char c : value) {
        if (is_blank(c) || c == '\n') {
          if (started && !field.empty()) out.push_back(std::move(field));
          field.clear();
          started = false;
        } else {
          field += c;
          started = true;
        }
      }
    };
    const auto add = [&](const Fields& values, bool quoted) {
      for (size_t i = 0; i < values.size(); ++i) {
        if (i > 0) {
          if (started) out.push_back(std::move(field));
          field.clear();
          started = false;
        }
        if (quoted || whole) {
          field += (i > 0 && whole ? " " : "") + values[i];
          started = true;
        } else {
          add_split(values[i]);
        }
      }
    };
    while (!error_ && at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\'') {
        field += single_quoted();
        started = true;
      } else if (c == '"') {
        double_quoted(whole, depth, &out, &field);
        started = started || !field.empty() || !quoted_nothing_;
      } else if (c == '$' || c == '`') {
        add(dollar(depth), false);
      } else if (c == '\\') {
        if (peek(1) == '\n') {
          at_ += 2;
          continue;
        }
        field += at_ + 1 < text_.size() ? text_[at_ + 1] : '\\';
        at_ = std::min(at_ + 2, text_.size());
        started = true;
      } else if (is_blank(c) || c == '\n' || c == ';' || c == '&' || c == '|' || c == '(' ||
                 c == ')' || c == '<' || c == '>') {
        break;
      } else {
        field += c;
        ++at_;
        started = true;
      }
      if (field.size() > kMaxWord || out.size() > kMaxWords) fail("a long word", "a shorter one");
    }
    if (started) out.push_back(std::move(field));
    return out;
  }

  std::string single_quoted() {
    const size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) {
      fail("a quote that does not end", "'");
      at_ = text_.size();
      return "";
    }
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }

  // "${A[@]}" alone gives a field for each element, and none for none.
  void double_quoted(bool whole, int depth, Fields* out, std::string* field) {
    ++at_;
    quoted_nothing_ = false;
    bool any = false;
    while (!error_) {
      if (at_ >= text_.size()) return fail("a quote that does not end", "\"");
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return;
      }
      if (c == '\\' && at_ + 1 < text_.size()) {
        const char next = text_[at_ + 1];
        at_ += 2;
        if (next == '\n') continue;
        if (next != '"' && next != '\\' && next != '$' && next != '`') *field += '\\';
        *field += next;
        any = true;
      } else if (c == '$' || c == '`') {
        many_ = false;
        const Fields values = dollar(depth);
        if (many_ && values.empty() && !any) quoted_nothing_ = true;
        for (size_t i = 0; i < values.size(); ++i) {
          if (i > 0) {
            if (many_ && !whole) {
              out->push_back(std::move(*field));
              field->clear();
            } else {
              *field += ' ';
            }
          }
          *field += values[i];
        }
        any = any || !values.empty();
      } else {
        *field += c;
        ++at_;
        any = true;
      }
      if (field->size() > kMaxWord) fail("a long word", "a shorter one");
    }
  }

  // After the opening bracket at `from`: where its partner is.
  size_t closing(size_t from, char open, char close) {
    int depth = 1;
    for (size_t i = from; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        ++i;
      } else if (text_[i] == open) {
        ++depth;
      } else if (text_[i] == close && --depth == 0) {
        return i;
      }
    }
    fail("a bracket that does not end", std::string(1, close));
    return text_.size();
  }

  Fields dollar(int depth) {
    if (text_[at_] == '`') {
      const size_t end = text_.find('`', at_ + 1);
      if (end == std::string_view::npos) fail("a quote that does not end", "`");
      at_ = std::min(end, text_.size() - 1) + 1;
      return {unknown("(...)")};
    }
    if (peek(1) == '(') return bracketed();
    if (peek(1) == '{') return braced(depth);
    size_t end = at_ + 1;
    if (end < text_.size() && (text_[end] == '@' || text_[end] == '*')) {
      at_ = end + 1;
      many_ = true;
      return {};  // the script's own arguments
    }
    if (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') {
      const Fields out = {unknown(text_.substr(end, 1))};
      at_ = end + 1;
      return out;
    }
    while (end < text_.size() && is_name(text_[end])) ++end;
    const std::string name(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    if (name.empty()) {
      if (at_ < text_.size() &&
          (text_[at_] == '?' || text_[at_] == '#' || text_[at_] == '$' || text_[at_] == '!')) {
        ++at_;
        return {unknown("?")};
      }
      return {"$"};
    }
    return first_of(name);
  }
  Fields first_of(const std::string& name) {
    const auto found = variables_.find(name);
    if (found == variables_.end()) return {unknown(name)};
    return found->second.empty() ? Fields{} : Fields{found->second[0]};
  }

  Fields bracketed() {
    const bool arithmetic = peek(2) == '(';
    const size_t from = at_ + 2;
    const size_t end = closing(from, '(', ')');
    std::string_view inside = text_.substr(from, end - from);
    at_ = std::min(end + 1, text_.size());
    if (!arithmetic || inside.size() < 2) return {unknown("(...)")};
    const auto value = arithmetic_value(inside.substr(1, inside.size() - 2), variables_);
    if (!value) return {unknown("((" + std::string(inside.substr(1, inside.size() - 2)) + "))")};
    return {std::to_string(*value)};
  }

  // ${NAME}, ${NAME[@]}, ${NAME:-word}, ${NAME:=word}, ${NAME:?word}; others are unknown.
  Fields braced(int depth) {
    const size_t from = at_ + 2;
    const size_t end = closing(from, '{', '}');
    const std::string inside(text_.substr(from, end - from));
    at_ = std::min(end + 1, text_.size());
    size_t stop = 0;
    while (stop < inside.size() && is_name(inside[stop])) ++stop;
    const std::string name = inside.substr(0, stop), rest = inside.substr(stop);
    if (name.empty()) return {unknown(inside)};
    const auto found = variables_.find(name);
    const bool set = found != variables_.end();
    if (rest.empty()) return first_of(name);
    if (rest == "[@]" || rest == "[*]") {
      many_ = true;
      return set ? found->second : Fields{unknown(name)};
    }
    const bool colon = rest[0] == ':';
    const char kind = colon && rest.size() > 1 ? rest[1] : rest[0];
    if (kind != '-' && kind != '=' && kind != '?') return {unknown(name)};
    const bool empty = set && (found->second.empty() || found->second[0].empty());
    if (set && !(colon && empty)) return first_of(name);
    if (kind == '?' || depth >= kMaxDepth) return {unknown(name)};
    std::string fallback = rest.substr(colon ? 2 : 1);
    // Blanks are part of it: as inside double quotes, unless it has quotes of its own.
    if (fallback.find_first_of("'\"") == std::string::npos) fallback = '"' + fallback + '"';
    Reader inner(fallback, file_);
    inner.variables_ = variables_;
    Fields value = inner.expand(true, depth + 1);
    if (value.empty()) value = {""};
    if (kind == '=') variables_[name] = value;
    return value;
  }

  std::string_view text_;
  std::string file_;
  size_t at_ = 0;
  std::map<std::string, Fields> variables_;
  std::vector<std::string> here_documents_;
  Fields words_;
  ShellScript out_;
  bool many_ = false, is_array_ = false, quoted_nothing_ = false;
  std::optional<Error> error_;
};

}  // namespace

bool is_unknown(std::string_view word) { return word.find(kUnknown) != std::string_view::npos; }

std::string shown(std::string_view word) {
  std::string out;
  bool inside = false;
  for (const char c : word) {
    if (c != kUnknown) {
      out += c;
    } else {
      if (!inside) out += '$';
      inside = !inside;
    }
  }
  return printable(out);
}

Result<ShellScript> read_shell(std::string_view text, const std::string& file) {
  return Reader(text, file).read();
}

}  // namespace shardwright
