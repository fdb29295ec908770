#include "executor/cuda/arena.h"

#include <algorithm>

#include "costmodel/check.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

// Two rows of 16-byte vectors of a warp never share it, and cudaMalloc aligns so too.
constexpr Bytes kAlignment = 256;

void add_uses(const LastUses& more, LastUses* uses) {
  for (size_t lane = 0; lane < uses->size(); ++lane) {
    (*uses)[lane] = std::max((*uses)[lane], more[lane]);
  }
}

bool all_over(const LastUses& uses, const LastUses& over) {
  for (size_t lane = 0; lane < uses.size(); ++lane) {
    if (uses[lane] > over[lane]) return false;
  }
  return true;
}

bool sends(Lane lane) { return lane == Lane::kActivationOut || lane == Lane::kGradientOut; }
bool receives(Lane lane) { return lane == Lane::kActivationIn || lane == Lane::kGradientIn; }

}  // namespace

Arena::Arena(Device& device, Bytes bytes, Bytes piece_bytes)
    : device_(device), fixed_(bytes > 0), piece_bytes_(piece_bytes) {
  SW_CHECK_GE(bytes, 0, "bytes of an arena");
  if (fixed_) add_piece(round_up(bytes, kAlignment));
}

Arena::~Arena() {
  for (const Piece& piece : pieces_) device_.free(piece.start);
}

void Arena::add_piece(Bytes bytes) {
  auto* start = static_cast<std::byte*>(device_.allocate(bytes));
  pieces_.push_back({start, bytes});
  insert(start, {bytes});
}

std::byte* Arena::take_free(Bytes bytes, LastUses* uses) {
  const auto best = by_size_.lower_bound({bytes, nullptr});
  if (best == by_size_.end()) return nullptr;
  std::byte* at = best->second;
  const auto found = free_.find(at);
  const Stretch stretch = found->second;
  erase(found);
  add_uses(stretch.uses, uses);
  if (stretch.bytes > bytes) insert(at + bytes, {stretch.bytes - bytes, stretch.uses});
  return at;
}

std::byte* Arena::take_sent(Bytes bytes, Bytes at_most, LastUses* uses) {
  auto best = sent_.lower_bound({bytes, nullptr});
  while (best != sent_.end() && sent_over_ && !all_over(best->second, *sent_over_)) ++best;
  if (best == sent_.end() || best->first.first > at_most) return nullptr;
  const auto [size, at] = best->first;
  const LastUses last = best->second;
  sent_.erase(best);
  add_uses(last, uses);
  if (size > bytes) sent_[{size - bytes, at + bytes}] = last;
  return at;
}

// Memory of sends first, when it fits: the next message of the same kind has the same size. A
// receive that waited for a send could wait for ever: it takes what is known to be over only.
void* Arena::allocate(Bytes asked, LastUses* uses, Lane lane) {
  SW_CHECK_GE(asked, 0, "bytes to allocate");
  if (asked == 0) return nullptr;
  const Bytes bytes = round_up(asked, kAlignment);
  const bool from_sent = sent_over_ || !receives(lane);
  std::byte* at = from_sent ? take_sent(bytes, bytes, uses) : nullptr;
  if (at == nullptr) at = take_free(bytes, uses);
  if (at == nullptr && from_sent) at = take_sent(bytes, reserved_bytes(), uses);
  if (at == nullptr && !fixed_ && !device_.step_open()) {
    add_piece(std::max(bytes, piece_bytes_));
    at = take_free(bytes, uses);
  }
  if (at == nullptr) {
    throw ExecError(device_.rank(), "allocate",
                    "no room for " + std::to_string(asked) + " bytes: " +
                        std::to_string(live_bytes()) + " of " + std::to_string(reserved_bytes()) +
                        " bytes are live, the longest free stretch has " +
                        std::to_string(by_size_.empty() ? 0 : by_size_.rbegin()->first));
  }
  live_[at] = {asked, bytes};
  live_bytes_ += asked;
  padding_bytes_ += bytes - asked;
  peak_bytes_ = std::max(peak_bytes_, live_bytes());
  Piece& piece = piece_of(at);
  piece.reach = std::max(piece.reach, at + bytes - piece.start);
  return at;
}

void Arena::free(void* block, Lane lane, int instruction) {
  if (block == nullptr) return;
  const auto found = live_.find(static_cast<std::byte*>(block));
  SW_CHECK(found != live_.end(), "block was not allocated here, or was freed before");
  const Block sizes = found->second;
  live_bytes_ -= sizes.asked;
  padding_bytes_ -= sizes.bytes - sizes.asked;
  Stretch stretch{sizes.bytes};
  stretch.uses[static_cast<size_t>(lane)] = instruction + 1;
  if (sends(lane) && instruction >= 0) {
    sent_[{stretch.bytes, found->first}] = stretch.uses;
    SentLog& log = logs_[static_cast<size_t>(lane)];
    log.sends.emplace_back(instruction + 1, log.after(0) + sizes.asked);
    if (sent_over_) kept_bytes_ += sizes.asked;  // nobody knows yet that it is over
  } else {
    insert(found->first, stretch);
  }
  live_.erase(found);
}

Bytes Arena::SentLog::after(int over) const {
  const auto next = std::upper_bound(sends.begin(), sends.end(), over,
                                     [](int one, const auto& send) { return one < send.first; });
  if (sends.empty()) return 0;
  return sends.back().second - (next == sends.begin() ? 0 : std::prev(next)->second);
}

void Arena::keep_sent_after(const LastUses& over) {
  sent_over_ = over;
  kept_bytes_ = 0;
  for (size_t lane = 0; lane < over.size(); ++lane) kept_bytes_ += logs_[lane].after(over[lane]);
  // A moment may hold more with nothing allocated in it: an instruction knows less than one before
  // it on another lane.
  peak_bytes_ = std::max(peak_bytes_, live_bytes());
}

void Arena::forget_uses() {
  for (const auto& [place, uses] : sent_) insert(place.second, {place.first});
  sent_.clear();
  sent_over_.reset();
  for (SentLog& log : logs_) log.sends.clear();
  kept_bytes_ = 0;
  for (auto& [at, stretch] : free_) stretch.uses = {};
}

Arena::Piece& Arena::piece_of(const std::byte* at) {
  return *std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    return at >= piece.start && at < piece.start + piece.bytes;
  });
}

void Arena::insert(std::byte* at, Stretch stretch) {
  // Pieces may happen to lie beside each other: they are never joined.
  const Piece& piece = piece_of(at);
  auto after = free_.lower_bound(at);
  if (after != free_.end() && after->first == at + stretch.bytes &&
      after->first < piece.start + piece.bytes) {
    stretch.bytes += after->second.bytes;
    add_uses(after->second.uses, &stretch.uses);
    const auto gone = after++;
    erase(gone);
  }
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second.bytes == at && before->first >= piece.start) {
      at = before->first;
      stretch.bytes += before->second.bytes;
      add_uses(before->second.uses, &stretch.uses);
      erase(before);
    }
  }
  by_size_.insert({stretch.bytes, at});
  free_[at] = stretch;
}

void Arena::erase(Free::iterator stretch) {
  by_size_.erase({stretch->second.bytes, stretch->first});
  free_.erase(stretch);
}

Bytes Arena::reach_bytes() const {
  Bytes out = 0;
  for (const Piece& piece : pieces_) out += piece.reach;
  return out;
}

Bytes Arena::reserved_bytes() const {
  Bytes out = 0;
  for (const Piece& piece : pieces_) out += piece.bytes;
  return out;
}

}  // namespace shardwright
