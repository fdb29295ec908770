// What the running program's symbol table says about kernels: their names, and where their static
// shared variables are, which C++ offers no way to ask for.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace shardwright::emulation {

struct SharedVariable {
  std::byte* address;
  size_t bytes;
};

class Symbols {
 public:
  // Of the running program, read once. Throws when its file has no symbol table (stripped).
  static const Symbols& get();

  // All variables that functions of kernel sources (.cu) declare __shared__. Those of functions
  // with external linkage are not among them.
  const std::vector<SharedVariable>& shared_variables() const { return shared_; }
  // "tile_sum<float>", or "?" when there is no function at this address.
  std::string function_name(const void* address) const;

 private:
  Symbols();
  void read(const std::vector<std::byte>& file, size_t load_address);

  struct Function {
    size_t address;
    std::string name;
  };
  std::vector<SharedVariable> shared_;
  std::vector<Function> functions_;  // ascending
};

}  // namespace shardwright::emulation
