// Colours of tables on a terminal. Text is wrapped and aligned first and coloured last, so that no
// width depends on them.
#pragma once

#include <string>

namespace shardwright {

enum class Colour { kHeading, kGood, kBad, kNote };

// Whether coloured() colours; at first not. For main alone, before anything is printed.
void use_colours(bool on);
// Standard output is a terminal that has colours, and NO_COLOR (no-color.org) is not set.
bool terminal_has_colours();

// The text without its last newline, coloured.
std::string coloured(Colour colour, const std::string& text);

}  // namespace shardwright
