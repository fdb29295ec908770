#include "tests/executor/comm/comm_body.h"

#include <cstring>
#include <numeric>
#include <sstream>
#include <vector>

namespace shardwright {
namespace {

using Floats = std::vector<float>;

// Whole numbers below 2^24, so that sums over ranks are exact in any order, and different for
// every rank and neighbouring index.
float value_of(int rank, int64_t i) { return static_cast<float>((rank + 1) * 1000 + i % 997); }

// Fractions whose sum depends on the order in which it is formed.
float fraction_of(int rank, int64_t i) {
  return (1.0F + 0.1F * static_cast<float>(i % 13)) / static_cast<float>(rank * rank + 3);
}

template <typename T>
void expect_same(const char* what, const Communicator& comm, int64_t i, T found, T expected) {
  if (std::memcmp(&found, &expected, sizeof(T)) == 0) return;
  std::ostringstream text;
  text.precision(17);
  text << "rank " << comm.rank() << " of " << comm.size() << ": " << what << "[" << i
       << "] = " << found << ", expected " << expected;
  throw WrongAnswer(text.str());
}

Floats values_of(int rank, int64_t elements) {
  Floats values(static_cast<size_t>(elements));
  for (int64_t i = 0; i < elements; ++i) values[i] = value_of(rank, i);
  return values;
}

std::vector<int> everyone(const Communicator& comm) {
  std::vector<int> ranks(static_cast<size_t>(comm.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Sum over members of value_of(member, i) = 1000 sum(member + 1) + size (i mod 997).
float sum_of_values(const std::vector<int>& members, int64_t i) {
  int64_t thousands = 0;
  for (const int member : members) thousands += member + 1;
  return static_cast<float>(thousands * 1000 + static_cast<int64_t>(members.size()) * (i % 997));
}

void check_sum(Communicator& comm, const std::vector<int>& members, int64_t elements) {
  Floats data = values_of(comm.rank(), elements);
  const Timing timing = comm.group(members).all_reduce(data.data(), elements, ReduceOp::kSum);
  for (int64_t i = 0; i < elements; ++i) {
    expect_same("sum", comm, i, data[i], sum_of_values(members, i));
  }
  if (timing.start_ns > timing.end_ns) throw WrongAnswer("the end is before the start");
}

// The bits of the sum in member order, which each member works out for itself: equal to them on
// all members means equal among members.
template <typename T>
void check_member_order(Communicator& comm, int64_t elements) {
  std::vector<T> data(static_cast<size_t>(elements));
  for (int64_t i = 0; i < elements; ++i) data[i] = fraction_of(comm.rank(), i);
  comm.group(everyone(comm)).all_reduce(data.data(), elements, ReduceOp::kSum);
  for (int64_t i = 0; i < elements; ++i) {
    T sum = fraction_of(0, i);
    for (int rank = 1; rank < comm.size(); ++rank) sum += T{fraction_of(rank, i)};
    expect_same("sum in member order", comm, i, data[i], sum);
  }
}

template <typename T>
void check_max(Communicator& comm, int64_t elements) {
  const int ranks = comm.size();
  std::vector<T> data(static_cast<size_t>(elements));
  // Element i is largest on rank i mod ranks.
  for (int64_t i = 0; i < elements; ++i) {
    data[i] = static_cast<T>(i % ranks == comm.rank() ? i + 1 : -comm.rank() - 1);
  }
  comm.group(everyone(comm)).all_reduce(data.data(), elements, ReduceOp::kMax);
  for (int64_t i = 0; i < elements; ++i) {
    expect_same("max", comm, i, data[i], static_cast<T>(i + 1));
  }
}

}  // namespace

void check_all_reduce(Communicator& comm, int64_t elements) {
  check_sum(comm, everyone(comm), elements);
  check_member_order<float>(comm, elements);
  check_member_order<double>(comm, elements);
  check_max<float>(comm, elements);
  check_max<double>(comm, elements);
  comm.group(everyone(comm)).barrier();
}

void check_all_gather(Communicator& comm, int64_t elements) {
  const Floats mine = values_of(comm.rank(), elements);
  Floats all(static_cast<size_t>(elements * comm.size()), -1.0F);
  comm.group(everyone(comm)).all_gather(mine.data(), all.data(), elements);
  for (int64_t i = 0; i < elements * comm.size(); ++i) {
    const int from = static_cast<int>(i / elements);
    expect_same("gathered", comm, i, all[i], value_of(from, i % elements));
  }
}

void check_reduce_scatter(Communicator& comm, int64_t elements) {
  const Floats all = values_of(comm.rank(), elements * comm.size());
  Floats mine(static_cast<size_t>(elements), -1.0F);
  comm.group(everyone(comm)).reduce_scatter(all.data(), mine.data(), elements);
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t place = comm.rank() * elements + i;
    expect_same("scattered", comm, i, mine[i], sum_of_values(everyone(comm), place));
  }
}

void check_broadcast(Communicator& comm, int64_t elements) {
  for (int root = 0; root < comm.size(); ++root) {
    Floats data = values_of(comm.rank(), elements);
    comm.group(everyone(comm)).broadcast(data.data(), elements, root);
    for (int64_t i = 0; i < elements; ++i) {
      expect_same("broadcast", comm, i, data[i], value_of(root, i));
    }
  }
}

// Even and odd ranks at once: neither group may see the other's data or wait for it.
void check_disjoint_groups(Communicator& comm, int64_t elements) {
  std::vector<int> alike;
  for (int rank = comm.rank() % 2; rank < comm.size(); rank += 2) alike.push_back(rank);
  for (int round = 0; round < 3; ++round) check_sum(comm, alike, elements);
}

// A chain of pairs, in which every inner rank is in two groups, and prefixes of the world.
void check_overlapping_groups(Communicator& comm, int64_t elements) {
  for (int first = 0; first + 1 < comm.size(); ++first) {
    if (comm.rank() == first || comm.rank() == first + 1) {
      check_sum(comm, {first, first + 1}, elements);
    }
  }
  for (int size = comm.size(); size >= 1; --size) {
    std::vector<int> prefix = everyone(comm);
    prefix.resize(static_cast<size_t>(size));
    if (comm.rank() < size) check_sum(comm, prefix, elements);
  }
}

// Everyone posts to everyone, itself too, before anyone receives.
void check_sends_before_receives(Communicator& comm, int64_t elements) {
  Floats mine = values_of(comm.rank(), elements);
  for (int peer = 0; peer < comm.size(); ++peer) comm.send(mine.data(), elements, peer, 0);
  std::fill(mine.begin(), mine.end(), -1.0F);  // a posted message is no longer the caller's
  for (int peer = 0; peer < comm.size(); ++peer) {
    comm.receive(mine.data(), elements, peer, 0);
    for (int64_t i = 0; i < elements; ++i) {
      expect_same("received", comm, i, mine[i], value_of(peer, i));
    }
  }
}

// Messages of growing lengths to the next rank on two channels, received channel by channel.
void check_order_per_channel(Communicator& comm, int64_t elements) {
  constexpr int kMessages = 6;
  const int ranks = comm.size();
  const int next = (comm.rank() + 1) % ranks, previous = (comm.rank() + ranks - 1) % ranks;
  for (int m = 0; m < kMessages; ++m) {
    for (int channel = 0; channel < 2; ++channel) {
      const Floats data(static_cast<size_t>(elements + m), value_of(comm.rank(), 2 * m + channel));
      comm.send(data.data(), elements + m, next, channel);
    }
  }
  for (int channel = 1; channel >= 0; --channel) {
    for (int m = 0; m < kMessages; ++m) {
      Floats data(static_cast<size_t>(elements + m));
      comm.receive(data.data(), elements + m, previous, channel);
      expect_same("first", comm, 0, data.front(), value_of(previous, 2 * m + channel));
      expect_same("last", comm, m, data.back(), value_of(previous, 2 * m + channel));
    }
  }
}

void check_communicator(Communicator& comm, int64_t elements) {
  check_all_reduce(comm, elements);
  check_all_gather(comm, elements);
  check_reduce_scatter(comm, elements);
  check_broadcast(comm, elements);
  check_disjoint_groups(comm, elements);
  check_overlapping_groups(comm, elements);
  check_sends_before_receives(comm, elements);
  check_order_per_channel(comm, elements);
}

}  // namespace shardwright
