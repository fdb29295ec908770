#include "executor/cuda/cuda_device.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "costmodel/check.h"
#include "executor/cuda/cuda_check.h"

namespace shardwright {
namespace {

// Up to this much a kernel may use without being asked (CUDA C++ Programming Guide, "Shared Memory"
// of compute capability 7.x and later).
constexpr Bytes kSharedWithoutAsking = Bytes{48} << 10;

std::string version_text(int version) {  // 13000 is 13.0
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

cudaStream_t native(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaEvent_t native(Event event) { return reinterpret_cast<cudaEvent_t>(event); }
cudaGraphExec_t native(Graph graph) { return reinterpret_cast<cudaGraphExec_t>(graph); }

#define SW_CUDA(call, ...) check_cuda(rank(), #call, call(__VA_ARGS__))

class CudaDevice final : public Device {
 public:
  CudaDevice(int index, int rank);

  const DeviceProperties& properties() const override { return properties_; }
  void make_current() override { SW_CUDA(cudaSetDevice, index_); }
  Bytes free_bytes() override;
  void copy(void* to, const void* from, Bytes bytes, Stream stream) override;
  void set_bytes(void* to, int value, Bytes bytes, Stream stream) override;
  void record(Event event, Stream stream) override;
  void wait(Stream stream, Event event) override;
  bool done(Event event) override;
  bool idle(Stream stream) override;
  double elapsed_ns(Event from, Event to) override;
  void begin_capture(Stream stream) override;
  Graph end_capture(Stream stream) override;
  void run_graph(Graph graph, Stream stream) override;
  void destroy_graph(Graph graph) override { cudaGraphExecDestroy(native(graph)); }

 protected:
  void* do_allocate(Bytes bytes) override;
  void do_free(void* block) override { cudaFree(block); }
  void* do_allocate_pinned(Bytes bytes) override;
  void do_free_pinned(void* block) override { cudaFreeHost(block); }
  Stream do_create_stream() override;
  void do_destroy_stream(Stream stream) override { cudaStreamDestroy(native(stream)); }
  Event do_create_event(bool timed) override;
  void do_destroy_event(Event event) override;
  void do_synchronize() override;
  void do_synchronize(Stream stream) override;
  void do_launch(Stream stream, const Launch& launch) override;

 private:
  int attribute(cudaDeviceAttr which) const;
  void read_properties();

  int index_;
  DeviceProperties properties_;
  bool capturing_ = false;
  std::unordered_set<Event> timed_;
  std::unordered_map<const void*, Bytes> shared_allowed_;  // by kernel, above what needs no asking
};

CudaDevice::CudaDevice(int index, int rank) : Device(rank), index_(index) {
  make_current();
  read_properties();
}

int CudaDevice::attribute(cudaDeviceAttr which) const {
  int value = 0;
  SW_CUDA(cudaDeviceGetAttribute, &value, which, index_);
  return value;
}

void CudaDevice::read_properties() {
  cudaDeviceProp all{};
  SW_CUDA(cudaGetDeviceProperties, &all, index_);
  properties_.name = all.name;
  std::copy_n(all.uuid.bytes, properties_.uuid.size(), properties_.uuid.begin());
  properties_.memory_bytes = static_cast<Bytes>(all.totalGlobalMem);
  properties_.sm_count = attribute(cudaDevAttrMultiProcessorCount);
  properties_.major = attribute(cudaDevAttrComputeCapabilityMajor);
  properties_.minor = attribute(cudaDevAttrComputeCapabilityMinor);
  properties_.clock_khz = attribute(cudaDevAttrClockRate);
  properties_.shared_block_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  int driver = 0, runtime = 0;
  SW_CUDA(cudaDriverGetVersion, &driver);
  SW_CUDA(cudaRuntimeGetVersion, &runtime);
  properties_.driver = version_text(driver);
  properties_.runtime = version_text(runtime);
}

Bytes CudaDevice::free_bytes() {
  make_current();
  size_t available = 0, total = 0;
  SW_CUDA(cudaMemGetInfo, &available, &total);
  return static_cast<Bytes>(available);
}

void* CudaDevice::do_allocate(Bytes bytes) {
  make_current();
  void* block = nullptr;
  const cudaError_t code = cudaMalloc(&block, static_cast<size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // is not repeated by later calls
    throw ExecError(rank(), "cudaMalloc",
                    "no device memory for " + std::to_string(bytes) + " bytes, " +
                        std::to_string(free_bytes()) + " are free");
  }
  check_cuda(rank(), "cudaMalloc", code);
  return block;
}

void* CudaDevice::do_allocate_pinned(Bytes bytes) {
  make_current();
  void* block = nullptr;
  SW_CUDA(cudaHostAlloc, &block, static_cast<size_t>(bytes), cudaHostAllocDefault);
  return block;
}

Stream CudaDevice::do_create_stream() {
  make_current();
  cudaStream_t stream = nullptr;
  SW_CUDA(cudaStreamCreateWithFlags, &stream, cudaStreamNonBlocking);
  return reinterpret_cast<Stream>(stream);
}

Event CudaDevice::do_create_event(bool timed) {
  make_current();
  cudaEvent_t event = nullptr;
  SW_CUDA(cudaEventCreateWithFlags, &event, timed ? cudaEventDefault : cudaEventDisableTiming);
  if (timed) timed_.insert(reinterpret_cast<Event>(event));
  return reinterpret_cast<Event>(event);
}

void CudaDevice::do_destroy_event(Event event) {
  timed_.erase(event);
  cudaEventDestroy(native(event));
}

void CudaDevice::do_synchronize() {
  make_current();
  SW_CUDA(cudaDeviceSynchronize);
}
void CudaDevice::do_synchronize(Stream stream) { SW_CUDA(cudaStreamSynchronize, native(stream)); }

void CudaDevice::copy(void* to, const void* from, Bytes bytes, Stream stream) {
  SW_CUDA(cudaMemcpyAsync, to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, native(stream));
}
void CudaDevice::set_bytes(void* to, int value, Bytes bytes, Stream stream) {
  SW_CUDA(cudaMemsetAsync, to, value, static_cast<size_t>(bytes), native(stream));
}

// An event that only orders lanes becomes an edge of the graph; a timed one a node, so that every
// run of the graph sets it (CUDA Runtime API, cudaEventRecordExternal).
void CudaDevice::record(Event event, Stream stream) {
  const bool node = capturing_ && timed_.count(event) > 0;
  SW_CUDA(cudaEventRecordWithFlags, native(event), native(stream),
          node ? cudaEventRecordExternal : cudaEventRecordDefault);
}
void CudaDevice::wait(Stream stream, Event event) {
  SW_CUDA(cudaStreamWaitEvent, native(stream), native(event), cudaEventWaitDefault);
}

bool CudaDevice::done(Event event) {
  const cudaError_t code = cudaEventQuery(native(event));
  if (code == cudaErrorNotReady) return false;
  check_cuda(rank(), "cudaEventQuery", code);
  return true;
}
bool CudaDevice::idle(Stream stream) {
  const cudaError_t code = cudaStreamQuery(native(stream));
  if (code == cudaErrorNotReady) return false;
  check_cuda(rank(), "cudaStreamQuery", code);
  return true;
}

double CudaDevice::elapsed_ns(Event from, Event to) {
  float ms = 0;
  SW_CUDA(cudaEventElapsedTime, &ms, native(from), native(to));
  return static_cast<double>(ms) * 1e6;
}

void CudaDevice::do_launch(Stream stream, const Launch& launch) {
  const std::string where = "launch at " + place_name(launch.place);
  Bytes& allowed = shared_allowed_.try_emplace(launch.kernel, kSharedWithoutAsking).first->second;
  if (launch.shared_bytes > allowed) {
    check_cuda(rank(), where.c_str(),
               cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(launch.shared_bytes)));
    allowed = launch.shared_bytes;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  config.blockDim = {launch.block[0], launch.block[1], launch.block[2]};
  config.dynamicSmemBytes = static_cast<size_t>(launch.shared_bytes);
  config.stream = native(stream);
  check_cuda(rank(), where.c_str(), cudaLaunchKernelExC(&config, launch.kernel, launch.arguments));
}

void CudaDevice::begin_capture(Stream stream) {
  SW_CUDA(cudaStreamBeginCapture, native(stream), cudaStreamCaptureModeThreadLocal);
  capturing_ = true;
}

Graph CudaDevice::end_capture(Stream stream) {
  capturing_ = false;
  cudaGraph_t graph = nullptr;
  SW_CUDA(cudaStreamEndCapture, native(stream), &graph);
  cudaGraphExec_t runnable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&runnable, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(rank(), "cudaGraphInstantiate", code);
  return reinterpret_cast<Graph>(runnable);
}

void CudaDevice::run_graph(Graph graph, Stream stream) {
  SW_CUDA(cudaGraphLaunch, native(graph), native(stream));
}

}  // namespace

Result<int> cuda_device_count() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    cudaGetLastError();  // is not repeated by later calls
    return no_cuda_device(cudaGetErrorString(code));
  }
  if (count == 0) return no_cuda_device("the driver lists none");
  return count;
}

std::unique_ptr<Device> make_cuda_device(int index, int rank) {
  return std::make_unique<CudaDevice>(index, rank);
}

}  // namespace shardwright
