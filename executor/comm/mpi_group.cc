#include "executor/comm/mpi_group.h"

#include <algorithm>
#include <cstring>

#include "costmodel/check.h"
#include "executor/comm/host_data.h"
#include "executor/comm/reduce.h"

namespace shardwright {
namespace {

// Up to here every member sends all it has to every other and all form the same sum: one exchange
// instead of two. About what goes into one packet of shared memory.
constexpr size_t kOneExchangeBytes = 4096;

}  // namespace

MpiGroup::MpiGroup(std::vector<int> members, int index, MpiLink& link)
    : Group(std::move(members), index), link_(link), meeting_(members_, index, link) {}

template <typename T>
void MpiGroup::post_receive(Part<T> part, int member) {
  const int peer = members_[member];
  for (int64_t at = 0; at < part.elements; at += link_.piece_elements) {
    const int count = static_cast<int>(std::min(link_.piece_elements, part.elements - at));
    MPI_Request* const request = posted_.add(peer);
    link_.check(MPI_Irecv(part.data + at, count, mpi_type<T>(), peer, meeting_.tag(),
                          link_.collectives, request),
                meeting_.where());
  }
}

template <typename T>
void MpiGroup::post_send(Part<const T> part, int member) {
  const int peer = members_[member];
  for (int64_t at = 0; at < part.elements; at += link_.piece_elements) {
    const int count = static_cast<int>(std::min(link_.piece_elements, part.elements - at));
    MPI_Request* const request = posted_.add(peer);
    link_.check(MPI_Isend(part.data + at, count, mpi_type<T>(), peer, meeting_.tag(),
                          link_.collectives, request),
                meeting_.where());
  }
}

template <typename T, typename In, typename Out>
void MpiGroup::post_exchange(In in, Out out) {
  for (int i = 0; i < size(); ++i) {
    if (i != index_) post_receive<T>(in(i), i);
  }
  for (int i = 0; i < size(); ++i) {
    if (i != index_) post_send<T>(out(i), i);
  }
}

void MpiGroup::finish() { link_.await(posted_, "data", meeting_.where()); }

template <typename T>
T* MpiGroup::reserve(int64_t elements) {
  const size_t bytes = static_cast<size_t>(elements * (size() - 1)) * sizeof(T);
  if (bytes > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    scratch_bytes_ = bytes;
  }
  return reinterpret_cast<T*>(scratch_.get());
}

template <typename T>
T* MpiGroup::room_of(int member, int64_t elements) const {
  const int place = member < index_ ? member : member - 1;
  return reinterpret_cast<T*>(scratch_.get()) + place * elements;
}

template <typename T>
void MpiGroup::post_whole(Part<T> data) {
  reserve<T>(data.elements);
  post_exchange<T>(
      [&](int i) {
        return Part<T>{room_of<T>(i, data.elements), data.elements};
      },
      [&](int) {
        return Part<const T>{data.data, data.elements};
      });
}

template <typename T>
void MpiGroup::reduce_whole(Part<T> data, ReduceOp op) {
  const auto from = [&](int i) { return i == index_ ? data.data : room_of<T>(i, data.elements); };
  reduce_in_order<T>({op, data.elements, size(), 1}, from, [&](int) { return data.data; });
}

// First exchange of a long all-reduce: everyone gets the others' contributions to its own slice.
template <typename T>
void MpiGroup::post_slices(Part<T> data) {
  const int64_t mine = slice_of(data.elements, size(), index_).size();
  reserve<T>(mine);
  post_exchange<T>(
      [&](int i) {
        return Part<T>{room_of<T>(i, mine), mine};
      },
      [&](int i) {
        const Slice slice = slice_of(data.elements, size(), i);
        return Part<const T>{data.data + slice.begin, slice.size()};
      });
}

// Sums this member's slice and posts the second exchange: everyone gets the others' sums.
template <typename T>
void MpiGroup::reduce_slice(Part<T> data, ReduceOp op) {
  const auto slice_at = [&](int i) {
    const Slice slice = slice_of(data.elements, size(), i);
    return Part<T>{data.data + slice.begin, slice.size()};
  };
  const Part<T> own = slice_at(index_);
  const auto from = [&](int i) { return i == index_ ? own.data : room_of<T>(i, own.elements); };
  reduce_in_order<T>({op, own.elements, size(), 1}, from, [&](int) { return own.data; });
  post_exchange<T>(slice_at, [&](int) { return Part<const T>{own.data, own.elements}; });
}

template <typename T>
Timing MpiGroup::reduce_all(T* data, int64_t elements, ReduceOp op) {
  meeting_.announce({all_reduce_kind(data, op), 0, elements});
  if (size() == 1) return end(monotonic_ns());
  if (static_cast<size_t>(elements) * sizeof(T) <= kOneExchangeBytes) {
    post_whole<T>({data, elements});
    const int64_t start_ns = meeting_.meet();
    finish();
    reduce_whole<T>({data, elements}, op);
    return end(start_ns);
  }
  const int64_t block = link_.piece_elements * size();
  int64_t start_ns = 0;
  for (int64_t at = 0; at < elements; at += block) {
    const Part<T> part{data + at, std::min(block, elements - at)};
    post_slices(part);
    if (at == 0) start_ns = meeting_.meet();
    finish();  // the sends too: the second exchange overwrites what they read
    reduce_slice(part, op);
    finish();
  }
  return end(start_ns);
}

Timing MpiGroup::all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) {
  return reduce_all(host_fp32(data, type), elements, op);
}

Timing MpiGroup::all_reduce(double* data, int64_t elements, ReduceOp op) {
  return reduce_all(data, elements, op);
}

Timing MpiGroup::all_gather(const void* mine, void* all, int64_t elements, DataType type) {
  const float* const own_part = host_fp32(mine, type);
  float* const parts = host_fp32(all, type);
  meeting_.announce({CallKind::kAllGather, 0, elements});
  post_exchange<float>(
      [&](int i) {
        return Part<float>{parts + i * elements, elements};
      },
      [&](int) {
        return Part<const float>{own_part, elements};
      });
  const int64_t start_ns = meeting_.meet();
  float* const own = parts + index_ * elements;
  if (own != own_part && elements > 0) std::memcpy(own, own_part, elements * sizeof(float));
  finish();
  return end(start_ns);
}

Timing MpiGroup::reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) {
  const float* const parts = host_fp32(all, type);
  float* const sum = host_fp32(mine, type);
  meeting_.announce({CallKind::kReduceScatter, 0, elements});
  int64_t start_ns = 0;
  // At least once, so that members meet also over nothing.
  for (int64_t at = 0; at == 0 || at < elements; at += link_.piece_elements) {
    const int64_t count = std::min(link_.piece_elements, elements - at);
    reserve<float>(count);
    post_exchange<float>(
        [&](int i) {
          return Part<float>{room_of<float>(i, count), count};
        },
        [&](int i) {
          return Part<const float>{parts + i * elements + at, count};
        });
    if (at == 0) start_ns = meeting_.meet();
    finish();
    const auto from = [&](int i) -> const float* {
      return i == index_ ? parts + i * elements + at : room_of<float>(i, count);
    };
    reduce_in_order<float>({ReduceOp::kSum, count, size(), 1}, from, [&](int) { return sum + at; });
  }
  return end(start_ns);
}

Timing MpiGroup::broadcast(void* data, int64_t elements, DataType type, int root_index) {
  SW_CHECK(root_index >= 0 && root_index < size(), "broadcast root " << root_index);
  float* const values = host_fp32(data, type);
  meeting_.announce({CallKind::kBroadcast, root_index, elements});
  if (index_ != root_index) {
    post_receive<float>({values, elements}, root_index);
  } else {
    for (int i = 0; i < size(); ++i) {
      if (i != index_) post_send<float>({values, elements}, i);
    }
  }
  const int64_t start_ns = meeting_.meet();
  finish();
  return end(start_ns);
}

Timing MpiGroup::barrier() {
  meeting_.announce({CallKind::kBarrier, 0, 0});
  return end(meeting_.meet());
}

}  // namespace shardwright
