// Matmul: matrix products on a device, the one kind of work that a library does better. The class
// is defined over cuBLASLt (cublas_matmul.cc) and as a plain loop on the host
// (emulation/host_matmul.cc).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>

#include "executor/cuda/device.h"

namespace shardwright {

// c[m,n] = op(a) op(b), all row-major and dense; op(a) is [m,k]: stored so, or transposed as [k,m];
// op(b) is [k,n]: stored so, or transposed as [n,k]. Products are summed in fp32.
struct MatmulShape {
  enum class Extra {
    kNone,
    kBias,     // c += bias[n], of the type of c
    kRowSums,  // also sums[m] = the sums of op(a)'s rows, fp32
    // GELU is its form with tanh here. Both ask for gelu_fits().
    kGelu,      // gelu_input = op(a) op(b) + bias[n], and c = GELU of that
    kGeluGrad,  // c = op(a) op(b) times GELU's slope at gelu_input
  };
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  DataType in, out;  // of a and b; of c
  bool accumulate;   // c += op(a) op(b)
  Extra extra = Extra::kNone;
  auto operator<=>(const MatmulShape&) const = default;
};

struct MatmulOperands {
  const void *a, *b;
  void* c;
  const void* bias = nullptr;  // of kBias and kGelu
  float* sums = nullptr;       // of kRowSums
  void* gelu_input = nullptr;  // [m,n] of the type of c: written by kGelu, read by kGeluGrad
};

// Where the input of GELU can lie beside a product: rows of a multiple of 8 elements (cuBLASLt,
// CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD), and it and the bias on 16 bytes, the widest access.
inline bool gelu_fits(const MatmulShape& shape, const MatmulOperands& operands) {
  const auto aligned = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  return shape.n % 8 == 0 && !shape.accumulate && aligned(operands.gelu_input) &&
         aligned(operands.bias);
}

class Matmul {
 public:
  // Memory that a product may work in while it runs. More than that helps no product.
  struct Workspace {
    void* start;
    Bytes bytes;
  };
  virtual ~Matmul() = default;
  // Whether the library can do this, its extra included, in one pass. m, n, k > 0.
  virtual bool can(const MatmulShape& shape, const MatmulOperands& operands,
                   Workspace workspace) = 0;
  // Throws ExecError when it cannot.
  virtual void run(const MatmulShape& shape, const MatmulOperands& operands, Workspace workspace,
                   Stream stream) = 0;
  // Times the likely algorithms of every shape seen since the last call and keeps the fastest;
  // `take` gives memory for operands (null when there is none: the shape keeps what it has), which
  // `give_back` takes. Waits for the device: outside of steps only.
  virtual void tune(Workspace workspace, Stream stream, const std::function<void*(Bytes)>& take,
                    const std::function<void(void*)>& give_back) = 0;
};

std::unique_ptr<Matmul> make_matmul(Device& device);

}  // namespace shardwright
