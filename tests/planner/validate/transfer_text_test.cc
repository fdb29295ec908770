#include "planner/validate/transfer_text.h"

#include <gtest/gtest.h>

#include <cmath>

namespace shardwright {
namespace {

// Three runs of two sources; after one run of "Ours" its other run is known from two choices.
class TransferText : public testing::Test {
 protected:
  TransferText() {
    add("Ours", "NVIDIA", {"small"}, 1.1, 1.2, {1.1, 1.3});
    add("Ours", "NVIDIA", {"small"}, 1.0, 1.4, {});
    add("Theirs", "", {"large"}, 0.9, 0.5, {});
  }
  void add(const std::string& source, const std::string& origin, std::vector<std::string> groups,
           double fitted, double left_out, const std::vector<double>& after) {
    auto one = std::make_unique<TimedCase>();
    one->timed.source = source;
    one->run.origin = origin;
    one->run.groups = std::move(groups);
    one->run.model.kinds.resize(1);
    one->counts = true;
    timed_.cases.push_back(std::move(one));
    Residuals residuals{std::log(fitted), std::log(left_out), {}};
    for (double ratio : after) residuals.after[1].push_back(std::log(ratio));
    residuals_.push_back(residuals);
  }
  bool has_line(const std::string& line) const {
    return ("\n" + transfer_text(timed_, residuals_, {0, 1}) + "\n").find("\n" + line + "\n") !=
           std::string::npos;
  }
  TimedRuns timed_;
  std::vector<Residuals> residuals_;
};

TEST_F(TransferText, MeansByGroupAndSource) {
  EXPECT_TRUE(has_line("| group | rows | in the fit | left out | after 1 |"));
  EXPECT_TRUE(has_line("|---|---|---|---|---|"));
  EXPECT_TRUE(has_line("| small | 2 | 5.0 | 30.0 | 20.0 |"));
  EXPECT_TRUE(has_line("| large | 1 | 10.0 | 50.0 | - |"));
  EXPECT_TRUE(has_line("| Theirs | 1 | 10.0 | 50.0 | - |"));
}

TEST_F(TransferText, SourcesCountOnceByOrigin) {
  EXPECT_TRUE(has_line("| NVIDIA | 1 | 5.0 | 30.0 | 20.0 |"));
  EXPECT_TRUE(has_line("| others | 1 | 10.0 | 50.0 | - |"));
  EXPECT_TRUE(has_line("| of more than 1 runs | 1 | 5.0 | 30.0 | 20.0 |"));
}

// measured / predicted of the one source that is long enough: 1 / 1.4 to 1 / 1.2, but an interval
// holds its prediction.
TEST_F(TransferText, IntervalsShrinkOrNot) {
  EXPECT_TRUE(has_line("| dense | 0.71 to 1.00 | 0.77 to 1.00 |"));
  EXPECT_TRUE(has_line("| MoE | - | - |"));
}

TEST_F(TransferText, UnderspecifiedRowsAreNotCounted) {
  timed_.cases[1]->counts = false;
  EXPECT_TRUE(has_line("| small | 1 | 10.0 | 20.0 | 20.0 |"));
}

}  // namespace
}  // namespace shardwright
