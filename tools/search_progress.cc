#include "tools/search_progress.h"

#include <unistd.h>

#include <csignal>
#include <iomanip>
#include <ostream>

#include "tools/format.h"

namespace shardwright {
namespace {

volatile std::sig_atomic_t interrupted = 0;
void interrupt(int) { interrupted = 1; }

constexpr std::chrono::milliseconds kFirst{1000}, kBetween{100};

}  // namespace

SearchProgress::SearchProgress(std::ostream& err)
    : err_(err), terminal_(isatty(STDERR_FILENO) == 1), start_(std::chrono::steady_clock::now()) {
  interrupted = 0;
  before_ = std::signal(SIGINT, interrupt);
}
SearchProgress::~SearchProgress() { std::signal(SIGINT, before_); }

bool SearchProgress::show(const SpaceRequest::Progress& state) {
  const auto now = std::chrono::steady_clock::now();
  if (terminal_ && now - start_ > kFirst && now - last_ > kBetween) {
    const double share = static_cast<double>(state.decided) /
                         static_cast<double>(std::max<int64_t>(1, state.candidates));
    err_ << "\r" << percent_text(share) << " of " << state.candidates << " plans decided";
    if (state.best_s > 0) err_ << ", best so far " << seconds_text(state.best_s);
    err_ << ", none below " << seconds_text(state.bound_s) << "   " << std::flush;
    shown_ = true;
    last_ = now;
  }
  return interrupted == 0;
}

void SearchProgress::clear() {
  if (shown_) err_ << "\r" << std::string(90, ' ') << "\r" << std::flush;
  shown_ = false;
}

}  // namespace shardwright
