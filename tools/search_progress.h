// Progress of a search on a terminal, from the second second on; and Ctrl-C, which ends the search
// with the best plan so far instead of ending the program.
#pragma once

#include <chrono>
#include <iosfwd>

#include "planner/search/full_search.h"

namespace shardwright {

class SearchProgress {
 public:
  // Takes Ctrl-C over until it is destroyed. Writes to `err` only where that is a terminal.
  explicit SearchProgress(std::ostream& err);
  ~SearchProgress();
  SearchProgress(const SearchProgress&) = delete;
  SearchProgress& operator=(const SearchProgress&) = delete;

  // For SpaceRequest::progress: false once Ctrl-C was pressed.
  bool show(const SpaceRequest::Progress& state);
  void clear();  // the line, when there is one

 private:
  std::ostream& err_;
  bool terminal_, shown_ = false;
  std::chrono::steady_clock::time_point start_, last_;
  void (*before_)(int) = nullptr;
};

}  // namespace shardwright
