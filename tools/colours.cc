#include "tools/colours.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace shardwright {
namespace {

bool colours_on = false;

// ECMA-48, Select Graphic Rendition.
const char* code_of(Colour colour) {
  switch (colour) {
    case Colour::kHeading:
      return "\x1b[1m";
    case Colour::kGood:
      return "\x1b[32m";
    case Colour::kBad:
      return "\x1b[31m";
    case Colour::kNote:
      return "\x1b[33m";
  }
  return "";
}

}  // namespace

void use_colours(bool on) { colours_on = on; }

bool terminal_has_colours() {
  const char* none = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool refused = none != nullptr && *none != '\0';
  return !refused && isatty(STDOUT_FILENO) == 1 && terminal != nullptr &&
         std::strcmp(terminal, "dumb") != 0;
}

std::string coloured(Colour colour, const std::string& text) {
  if (!colours_on || text.empty()) return text;
  const bool newline = text.back() == '\n';
  return code_of(colour) + text.substr(0, text.size() - (newline ? 1 : 0)) + "\x1b[0m" +
         (newline ? "\n" : "");
}

}  // namespace shardwright
