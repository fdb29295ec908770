// Time of a collective over a group that may span several levels of links.
//
// A group of n ranks occupies I_i instances of level i; I_(-1) = n counts the ranks themselves, and
// the outermost level that the group spans has I = 1. At level i
//   meeting  g_i = ceil(I_(i-1) / I_i)   members talk to each other in one instance,
//   share        = I_(i-1) / n           of the bytes is left for each of them by the levels
//   inside.
// With 8 devices a node and 64 nodes all-reduce of P bytes so moves 2*7/8 P inside each node and
// 2*63/64 P/8 between nodes, one stage after the other.
#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "costmodel/pricer.h"

namespace shardwright {
namespace {

// Receiving without a curve of its own costs what sending does: the other end of the same message.
const CollectiveCurve* find_curve(const LinkLevel& level, CollectiveKind kind, int64_t ranks) {
  for (const CollectiveCurve& curve : level.curves) {
    if (curve.kind == kind && curve.ranks == ranks) return &curve;
  }
  if (kind != CollectiveKind::kReceive) return nullptr;
  return find_curve(level, CollectiveKind::kSend, ranks);
}

struct Factors {
  double latencies = 0;  // messages one after the other
  double passes = 0;     // of the bytes over the link of each member
};

Factors factors_of(CollectiveKind kind, int64_t ranks) {
  const double others = static_cast<double>(ranks - 1);
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return {2 * others, 2 * others / static_cast<double>(ranks)};
    case CollectiveKind::kAllGather:
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllToAll:
      return {others, others / static_cast<double>(ranks)};
    case CollectiveKind::kBroadcast:
    case CollectiveKind::kSend:
    case CollectiveKind::kReceive:
      return {1, 1};
  }
  SW_CHECK(false, "collective " << static_cast<int>(kind));
}

double in_level_s(const LinkLevel& level, CollectiveKind kind, int64_t ranks, double bytes) {
  if (ranks <= 1) return 0;
  if (const CollectiveCurve* curve = find_curve(level, kind, ranks)) {
    return interpolate(curve->points, bytes);
  }
  const Factors factors = factors_of(kind, ranks);
  return factors.latencies * level.latency_s + factors.passes * bytes / level.bytes_per_s;
}

// How many instances of a level a group occupies. Members at most one instance apart leave none out
// between the first and the last.
int64_t instances_of(const GroupPlacement& group, int64_t level_size) {
  if (group.run > 0) {
    const int64_t end = group.member(group.size - 1);
    const int64_t covered = end / level_size - group.first / level_size + 1;
    if (group.jump <= level_size) return covered;
    const GroupPlacement run{group.first, group.stride, group.run};
    return std::min(covered, group.size / group.run * instances_of(run, level_size));
  }
  if (group.stride > level_size) return group.size;
  const int64_t last = group.first + group.stride * (group.size - 1);
  return last / level_size - group.first / level_size + 1;
}

// What the levels inside have made of the group when a level is reached.
struct Stage {
  int64_t before = 0;  // instances of the level inside, I_(i-1)
  int64_t after = 0;   // instances of this level, I_i
  int64_t meeting() const { return ceil_div(before, after); }
};

// Each peer's share, 1/n of the bytes, goes over the level that joins the two. Where no level
// inside has joined any members, that is an all-to-all among the members of one instance.
double all_to_all_s(const LinkLevel& level, const Stage& stage, double bytes, double size) {
  const double reached = size / static_cast<double>(stage.after);
  const double inside = size / static_cast<double>(stage.before);
  if (stage.before == static_cast<int64_t>(size)) {
    return in_level_s(level, CollectiveKind::kAllToAll, stage.meeting(), bytes * reached / size);
  }
  const double peers = reached - inside;
  return peers * level.latency_s + peers / size * bytes / level.bytes_per_s;
}

// Of `places` equally likely ones, how many different ones are hit by `draws`.
double expected_hits(double places, double draws) {
  return places <= 1 ? places : places * (1 - std::pow(1 - 1 / places, draws));
}

// Tokens to their experts (CollectiveWork::copies). Outside, a token goes once to each instance
// that holds some of its experts, or once to each expert there; inside, to every expert's member.
double expert_exchange_s(const LinkLevel& level, const CollectiveWork& work, const Stage& stage,
                         double size) {
  const double reached = size / static_cast<double>(stage.after);
  const double inside = size / static_cast<double>(stage.before);
  const double bytes = static_cast<double>(work.bytes);
  const double draws = static_cast<double>(work.copies);
  const double peers = reached - inside;
  const bool members = stage.before == static_cast<int64_t>(size);
  double sent = draws * peers / size;
  if (work.per_instance) {
    // Instances of the level inside are the places; this rank's own needs no message.
    double places = static_cast<double>(stage.before);
    double hit = expected_hits(places, draws);
    if (!members && work.max_instances > 0) {
      hit = std::min(hit, static_cast<double>(work.max_instances));
    }
    sent = hit / places * peers / inside;
  }
  if (members) {
    // Priced as an all-to-all of the same traffic, for which there may be measurements.
    const double ranks = static_cast<double>(stage.meeting());
    return in_level_s(level, CollectiveKind::kAllToAll, stage.meeting(),
                      sent * bytes * ranks / std::max(1.0, ranks - 1));
  }
  return peers / inside * level.latency_s + sent * bytes / level.bytes_per_s;
}

double stage_s(const LinkLevel& level, CollectiveKind kind, const Stage& stage, double bytes,
               double size) {
  const double share = bytes * static_cast<double>(stage.before) / size;
  const bool outermost = stage.after == 1;
  switch (kind) {
    case CollectiveKind::kAllReduce:
      if (outermost) break;
      return in_level_s(level, CollectiveKind::kReduceScatter, stage.meeting(), share) +
             in_level_s(level, CollectiveKind::kAllGather, stage.meeting(), share);
    case CollectiveKind::kAllGather:
    case CollectiveKind::kReduceScatter:
      break;
    case CollectiveKind::kAllToAll:
      return all_to_all_s(level, stage, bytes, size);
    case CollectiveKind::kBroadcast:
      return in_level_s(level, kind, stage.meeting(), bytes);
    case CollectiveKind::kSend:
    case CollectiveKind::kReceive:
      if (!outermost) return 0;
      return in_level_s(level, kind, stage.meeting(), bytes);
  }
  return in_level_s(level, kind, stage.meeting(), share);
}

}  // namespace

LevelSeconds collective_levels(const ClusterSpec& cluster, const CollectiveWork& work,
                               const GroupPlacement& group) {
  LevelSeconds out;
  SW_CHECK(group.first >= 0 && group.stride >= 1 && group.size >= 1,
           "group " << group.first << " + " << group.stride << " * " << group.size);
  if (group.size == 1) return out;
  const int64_t last = group.member(group.size - 1);
  SW_CHECK_LT(last, cluster.num_devices(), describe(work));
  Stage stage{group.size, group.size};
  for (size_t i = 0; i < cluster.levels.size(); ++i) {
    const LinkLevel& level = cluster.levels[i];
    stage.after = instances_of(group, level.size);
    if (stage.after < stage.before) {
      const double seconds =
          work.copies > 0 ? expert_exchange_s(level, work, stage, static_cast<double>(group.size))
                          : stage_s(level, work.kind, stage, static_cast<double>(work.bytes),
                                    static_cast<double>(group.size));
      (i == 0 ? out.inside : out.outside) += seconds;
    }
    if (stage.after == 1) break;
    stage.before = stage.after;
  }
  return out;
}

double collective_s(const ClusterSpec& cluster, const CollectiveWork& work,
                    const GroupPlacement& group) {
  const LevelSeconds seconds = collective_levels(cluster, work, group);
  return seconds.inside + seconds.outside;
}

}  // namespace shardwright
