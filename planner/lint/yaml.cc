#include "planner/lint/yaml.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

namespace shardwright {
namespace {

constexpr int kMaxDepth = 32;

struct Line {
  int64_t number = 0;
  size_t indent = 0;
  std::string text;  // without indentation and comment
};

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Up to a comment: '#' at the start or after a blank, outside of quotes.
std::string without_comment(std::string_view line) {
  char quote = '\0';
  size_t end = 0;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (quote != '\0') {
      if (c == '\\' && quote == '"') {
        ++end;
      } else if (c == quote) {
        quote = '\0';
      }
    } else if ((c == '"' || c == '\'') &&
               (end == 0 || !std::isalnum(static_cast<unsigned char>(line[end - 1])))) {
      quote = c;
    } else if (c == '#' && (end == 0 || is_blank(line[end - 1]))) {
      break;
    }
  }
  end = std::min(end, line.size());
  while (end > 0 && is_blank(line[end - 1])) --end;
  return std::string(line.substr(0, end));
}

class Reader {
 public:
  Reader(std::string_view text, std::string file) : file_(std::move(file)) { split(text); }

  Result<Json> read() {
    Json out = Json::object();
    if (!error_ && !lines_.empty()) out = block(lines_.front().indent, 0);
    if (!error_ && at_ < lines_.size()) fail(lines_[at_], "the indentation of the lines above");
    if (error_) return *error_;
    return out;
  }

 private:
  void fail(const Line& line, const std::string& expected) {
    if (error_) return;
    error_ = Error{file_, "line " + std::to_string(line.number), '"' + printable(line.text) + '"',
                   expected};
  }

  void split(std::string_view text) {
    int64_t number = 0;
    for (size_t start = 0; start <= text.size();) {
      const size_t end = std::min(text.find('\n', start), text.size());
      std::string_view line = text.substr(start, end - start);
      start = end + 1;
      ++number;
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      size_t indent = 0;
      while (indent < line.size() && line[indent] == ' ') ++indent;
      Line one{number, indent, without_comment(line.substr(indent))};
      if (one.text.empty() || (one.text == "---" && lines_.empty())) continue;
      if (one.text[0] == '\t') fail(one, "indentation by blanks");
      if (one.text == "---" || one.text == "...") fail(one, "one document");
      lines_.push_back(std::move(one));
    }
  }

  Json block(size_t indent, int depth) {
    if (depth > kMaxDepth) {
      fail(lines_[at_], "less nesting");
      return nullptr;
    }
    const bool list = is_item(lines_[at_].text);
    Json out = list ? Json::array() : Json::object();
    while (!error_ && at_ < lines_.size() && lines_[at_].indent == indent) {
      if (is_item(lines_[at_].text) != list) {
        fail(lines_[at_], list ? "another item" : "a key");
        break;
      }
      if (list) {
        item(&out, depth);
      } else {
        entry(&out, depth);
      }
    }
    if (!error_ && at_ < lines_.size() && lines_[at_].indent > indent) {
      fail(lines_[at_], "the indentation of the lines above");
    }
    return out;
  }

  static bool is_item(const std::string& text) {
    return text == "-" || (text.size() > 1 && text[0] == '-' && text[1] == ' ');
  }

  void item(Json* out, int depth) {
    const Line line = lines_[at_++];
    size_t start = std::min<size_t>(2, line.text.size());
    while (start < line.text.size() && line.text[start] == ' ') ++start;
    const std::string value = line.text.substr(start);
    if (colon_of(value) != std::string::npos) return fail(line, "a plain value after '-'");
    if (!value.empty()) return out->push_back(scalar(line, value));
    out->push_back(nested(line.indent, depth));
  }

  void entry(Json* out, int depth) {
    const Line line = lines_[at_++];
    const size_t colon = colon_of(line.text);
    if (colon == std::string::npos) return fail(line, "KEY: VALUE");
    const Json key = scalar(line, line.text.substr(0, colon));
    const std::string name = key.is_string() ? key.get<std::string>() : line.text.substr(0, colon);
    if (out->contains(name)) return fail(line, "each key once");
    size_t start = colon + 1;
    while (start < line.text.size() && is_blank(line.text[start])) ++start;
    const std::string value = line.text.substr(start);
    (*out)[name] = value.empty() ? nested(line.indent, depth) : scalar(line, value);
  }

  // What stands deeper below a key or an item; a list may stand at the key's own depth.
  Json nested(size_t indent, int depth) {
    if (at_ >= lines_.size()) return nullptr;
    const Line& next = lines_[at_];
    if (next.indent > indent ||
        (next.indent == indent && is_item(next.text) && !is_item(lines_[at_ - 1].text))) {
      return block(next.indent, depth + 1);
    }
    return nullptr;
  }

  // The colon that ends a key: outside of quotes, before a blank or the end.
  static size_t colon_of(const std::string& text) {
    char quote = '\0';
    for (size_t i = 0; i < text.size(); ++i) {
      if (quote != '\0') {
        if (text[i] == quote) quote = '\0';
      } else if ((text[i] == '"' || text[i] == '\'') && i == 0) {
        quote = text[i];
      } else if (text[i] == ':' && (i + 1 == text.size() || is_blank(text[i + 1]))) {
        return i;
      }
    }
    return std::string::npos;
  }

  Json scalar(const Line& line, const std::string& value) {
    const char first = value.empty() ? '\0' : value[0];
    if (first == '"') return double_quoted(line, value);
    if (first == '\'') return single_quoted(line, value);
    if (first == '[') return flow_list(line, value);
    if (value == "{}") return Json::object();
    if (first == '&' || first == '*' || first == '!' || first == '|' || first == '>' ||
        first == '{' || first == '%' || first == '@' || first == '`') {
      fail(line, "a plain value");
      return nullptr;
    }
    return plain(value);
  }

  static Json plain(const std::string& value) {
    if (value == "~" || value == "null" || value == "Null" || value == "NULL") return nullptr;
    if (value == "true" || value == "True" || value == "TRUE") return true;
    if (value == "false" || value == "False" || value == "FALSE") return false;
    if (value.size() < 40 && value.find_first_not_of("+-0123456789.eE") == std::string::npos &&
        value.find_first_of("0123456789") != std::string::npos) {
      char* end = nullptr;
      if (value.find_first_of(".eE") == std::string::npos && value.size() < 19) {
        const long long whole = std::strtoll(value.c_str(), &end, 10);
        if (end == value.c_str() + value.size()) return static_cast<int64_t>(whole);
      }
      const double number = std::strtod(value.c_str(), &end);
      if (end == value.c_str() + value.size()) return number;
    }
    return value;
  }

  Json double_quoted(const Line& line, const std::string& value) {
    // JSON's escapes are among YAML's; the rest is refused.
    const Result<Json> parsed = parse_json("[" + value + "]", file_);
    if (parsed && parsed->size() == 1 && parsed->front().is_string()) return parsed->front();
    fail(line, "a quoted text with escapes of JSON");
    return nullptr;
  }
  Json single_quoted(const Line& line, const std::string& value) {
    std::string out;
    for (size_t i = 1; i < value.size(); ++i) {
      if (value[i] != '\'') {
        out += value[i];
      } else if (i + 1 < value.size() && value[i + 1] == '\'') {
        out += '\'';
        ++i;
      } else if (i + 1 == value.size()) {
        return out;
      } else {
        break;
      }
    }
    fail(line, "a quote that ends at the end of the line");
    return nullptr;
  }
  Json flow_list(const Line& line, const std::string& value) {
    Json out = Json::array();
    if (value.back() != ']' || value.find_first_of("[{", 1) != std::string::npos) {
      fail(line, "a list of plain values on one line");
      return out;
    }
    std::string inside = value.substr(1, value.size() - 2);
    for (size_t start = 0; start < inside.size();) {
      const size_t end = std::min(inside.find(',', start), inside.size());
      std::string one = inside.substr(start, end - start);
      while (!one.empty() && is_blank(one.front())) one.erase(one.begin());
      while (!one.empty() && is_blank(one.back())) one.pop_back();
      if (!one.empty()) out.push_back(scalar(line, one));
      start = end + 1;
    }
    return out;
  }

  std::string file_;
  std::vector<Line> lines_;
  size_t at_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<Json> parse_yaml(std::string_view text, const std::string& file) {
  return Reader(text, file).read();
}

}  // namespace shardwright
