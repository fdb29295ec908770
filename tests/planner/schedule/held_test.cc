// Closed forms of what stages hold against a count along the orders.
#include "planner/schedule/held.h"

#include <algorithm>

#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

TEST(InFlight, ClosedFormsEqualACountAlongTheOrder) {
  ScheduleMemo memo;
  for (const ScheduleShape& shape : shapes_up_to(6, 14)) {
    const auto orders = schedule_orders(shape);
    for (int stage = 0; stage < shape.stages; ++stage) {
      const std::vector<HeldChunk> held = held_chunks(orders[stage], shape.virtual_stages);
      for (int k = 0; k < shape.virtual_stages; ++k) {
        const int count = held[k].whole + held[k].for_weights;
        EXPECT_EQ(in_flight(shape, stage, k), count) << name_of(shape) << " stage " << stage;
        EXPECT_EQ(memo.in_flight(shape, stage, k), count) << name_of(shape) << " stage " << stage;
      }
    }
  }
}

// Under interleaving the first stage holds 1 + (pp - 1) / (pp v) times pp microbatches' worth
// (arXiv 2205.05198, section 4.2.3), and a number of microbatches that is no multiple of pp, as in
// records of other programs, still has an answer.
TEST(InFlight, OfInterleaved) {
  int held = 0;
  for (int k = 0; k < 4; ++k) {
    held += in_flight({ScheduleKind::kOneFOneB, 4, 4, 64, {}, 0}, 0, k);
  }
  EXPECT_EQ(held, 4 * 4 + 3);  // in chunks: pp v (1 + (pp - 1) / (pp v))
  EXPECT_EQ(in_flight({ScheduleKind::kOneFOneB, 4, 2, 6, {}, 0}, 3, 0), 4);
  EXPECT_EQ(in_flight({ScheduleKind::kOneFOneB, 4, 2, 6, {}, 0}, 3, 1), 1);
}

// Stage 2 of 3 under ZB-H1, "F0I0F1I1F2I2W0...": after F2 one microbatch is whole and two wait for
// their gradients of weights.
TEST(HeldChunks, CountsAPartUntilTheGradientOfInputs) {
  const auto orders = schedule_orders({ScheduleKind::kZbH1, 3, 1, 4, {}, 0});
  const std::vector<HeldChunk> held = held_chunks(orders[2], 1);
  EXPECT_EQ(held[0].whole, 1);
  EXPECT_EQ(held[0].for_weights, 2);
  // With a tenth left for weights, 1 + 0.2 is still the most there; on stage 0 it is 3 + 0.
  EXPECT_EQ(held_chunks(orders[2], 1, 0.1)[0].for_weights, 2);
  EXPECT_EQ(held_chunks(orders[0], 1, 0.1)[0].whole, 3);
  EXPECT_EQ(held_chunks(orders[0], 1, 0.1)[0].for_weights, 0);
}

}  // namespace
}  // namespace shardwright
