// The one exception of a running backend: a device, a peer or a deadline failed while executing.
// Bad input never reaches here (Result), and a mistake of ours is a BrokenInvariant.
#pragma once

#include <stdexcept>
#include <string>

namespace shardwright {

class ExecError : public std::runtime_error {
 public:
  // `where` names the operation, e.g. "all_reduce on group tp{0,1}".
  ExecError(int rank, const std::string& where, const std::string& what)
      : std::runtime_error("rank " + std::to_string(rank) + ": " + where + ": " + what),
        rank_(rank),
        where_(where),
        what_(what) {}
  int rank() const { return rank_; }
  const std::string& where() const { return where_; }
  const std::string& reason() const { return what_; }

  // The same failure with the instruction it happened in put in front.
  ExecError inside(const std::string& instruction) const {
    return ExecError(rank_, instruction + ": " + where_, what_);
  }

 private:
  int rank_;
  std::string where_, what_;
};

// Thrown on ranks that stop because another one failed: report the other's error, not this one.
class PeerFailed : public ExecError {
 public:
  using ExecError::ExecError;
};

}  // namespace shardwright
