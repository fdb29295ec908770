#include "planner/export/quoting.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "costmodel/json.h"

namespace shardwright {
namespace {

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}
// Plain everywhere inside a word of a shell, if not all of it at its start.
bool is_safe(char c) {
  return is_plain(c) || c == '/' || c == ':' || c == ',' || c == '+' || c == '@' || c == '=';
}

}  // namespace

std::string shell_word(std::string_view text) {
  // "A=b" at the start of a command is an assignment, so words with '=' are safe as arguments only;
  // commands here begin with fixed words.
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_safe)) return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c == '\0' ? '?' : c;
    }
  }
  return out + "'";
}

std::string shell_words(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + shell_word(word);
  return out;
}

std::string yaml_text(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string comment_text(std::string_view text, size_t limit) { return printable(text, limit); }

std::string plain_name(std::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out) {
    if (!is_plain(c)) c = '_';
  }
  // Not an option, not a hidden file, not a folder.
  if (out.empty() || out.front() == '-' || out.front() == '.') out = "m" + out;
  return out;
}

}  // namespace shardwright
