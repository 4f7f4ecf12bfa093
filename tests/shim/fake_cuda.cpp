#include "tests/shim/fake_cuda.h"

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <cuda.h>
#include <cuda_runtime.h>
#include <sys/mman.h>

#include "models/kernels/device.h"
#include "models/kernels/kernels.h"

namespace hearth::shim {
namespace {

FakeCuda fake;
std::set<CUdeviceptr> mapped;  // addresses of chunks

constexpr std::size_t kChunkBytes = std::size_t{HEARTH_CHUNK_MIB} << 20;
constexpr std::size_t kTouched = std::size_t{1} << 20;  // more is not copied: it only costs time

// The code with which this call fails, or 0.
int answer(const char* name) {
  ++fake.calls;
  fake.names.emplace_back(name);
  const bool fails =
      fake.fail_at > 0 && (fake.stays ? fake.calls >= fake.fail_at : fake.calls == fake.fail_at);
  return fails ? fake.code : 0;
}

cudaError_t runtime(const char* name) {
  const int code = answer(name);
  if (code != 0) fake.last_error = code;
  return static_cast<cudaError_t>(code);
}

CUresult driver(const char* name) {
  return static_cast<CUresult>(answer(name));
}

// What is open, by its address. A process that must end leaves some of it to its end, which fail()
// stands for.
std::map<void*, std::unique_ptr<std::byte[]>> things;

void* open_thing(std::size_t bytes) {
  ++fake.open;
  auto memory = std::make_unique_for_overwrite<std::byte[]>(bytes);
  void* const address = memory.get();
  things.emplace(address, std::move(memory));
  return address;
}
void close_thing(void* address) {
  --fake.open;
  things.erase(address);
}

template <class Handle>
cudaError_t make(const char* name, Handle* into) {
  const cudaError_t error = runtime(name);
  if (error == cudaSuccess) *into = static_cast<Handle>(open_thing(1));
  return error;
}

// What is destroyed is gone, whatever the call says, as in the real runtime.
template <class Handle>
cudaError_t destroy(const char* name, Handle handle) {
  close_thing(handle);
  return runtime(name);
}

}  // namespace

void FakeCuda::fail(int at, int with, bool for_good) {
  fail_at = at;
  code = with;
  stays = for_good;
  calls = 0;
  names.clear();
  last_error = 0;
  open = 0;
  things.clear();
  mapped.clear();
}

FakeCuda& fake_cuda() {
  return fake;
}

}  // namespace hearth::shim

using hearth::shim::destroy;
using hearth::shim::driver;
using hearth::shim::fake;
using hearth::shim::kChunkBytes;
using hearth::shim::kTouched;
using hearth::shim::make;
using hearth::shim::mapped;
using hearth::shim::open_thing;
using hearth::shim::runtime;

// The table of kernels, which nothing here calls: the device layer stands alone.
const HearthKernels* hearth_kernels_cuda() {
  return hearth_kernels_ref();
}

const char* cudaGetErrorString(cudaError_t) {
  return "as asked";
}
cudaError_t cudaGetLastError() {
  return static_cast<cudaError_t>(std::exchange(fake.last_error, 0));
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  static const std::map<std::string, void*> kFunctions = {
      {"cuMemAddressReserve", reinterpret_cast<void*>(&cuMemAddressReserve)},
      {"cuMemAddressFree", reinterpret_cast<void*>(&cuMemAddressFree)},
      {"cuMemCreate", reinterpret_cast<void*>(&cuMemCreate)},
      {"cuMemRelease", reinterpret_cast<void*>(&cuMemRelease)},
      {"cuMemMap", reinterpret_cast<void*>(&cuMemMap)},
      {"cuMemUnmap", reinterpret_cast<void*>(&cuMemUnmap)},
      {"cuMemSetAccess", reinterpret_cast<void*>(&cuMemSetAccess)}};
  *function = kFunctions.at(name);
  *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;  // asked once a process: no call site of its own
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return runtime("cudaGetDeviceCount");
}
cudaError_t cudaSetDevice(int) {
  return runtime("cudaSetDevice");
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return runtime("cudaGetDevice");
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"Fake", 9, 0};
  return runtime("cudaGetDeviceProperties");
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 4096;
  return runtime("cudaDeviceGetAttribute");
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *free_bytes = *total_bytes = std::size_t{1} << 30;
  return runtime("cudaMemGetInfo");
}
cudaError_t fake_attributes(cudaFuncAttributes* attributes) {
  *attributes = {90, 90};
  return runtime("cudaFuncGetAttributes");
}
cudaError_t fake_launch() {
  return runtime("cudaLaunchKernelEx");
}

namespace {

cudaError_t allocate(const char* name, void** memory, std::size_t bytes) {
  const cudaError_t error = runtime(name);
  if (error != cudaSuccess) return error;
  *memory = open_thing(bytes);
  return error;
}

}  // namespace

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return allocate("cudaMalloc", memory, bytes);
}
cudaError_t cudaFree(void* memory) {
  return destroy("cudaFree", memory);
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  return allocate("cudaHostAlloc", memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  return destroy("cudaFreeHost", memory);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  const cudaError_t error = runtime("cudaMemcpyAsync");
  if (error == cudaSuccess && bytes <= kTouched) std::memcpy(to, from, bytes);
  return error;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  const cudaError_t error = runtime("cudaMemsetAsync");
  if (error == cudaSuccess && bytes <= kTouched) std::memset(to, value, bytes);
  return error;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void*) {
  attributes->type = cudaMemoryTypeHost;
  return runtime("cudaPointerGetAttributes");
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return runtime("cudaDeviceGetStreamPriorityRange");
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return make("cudaStreamCreateWithPriority", stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return destroy("cudaStreamDestroy", stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return runtime("cudaStreamSynchronize");
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  return runtime("cudaStreamQuery");
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return runtime("cudaStreamWaitEvent");
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  return runtime("cudaStreamBeginCapture");
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  return make("cudaStreamEndCapture", graph);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return make("cudaEventCreateWithFlags", event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return destroy("cudaEventDestroy", event);
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return runtime("cudaEventRecord");
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return runtime("cudaEventSynchronize");
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t, unsigned long long) {
  return make("cudaGraphInstantiate", ready);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return runtime("cudaGraphUpload");
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  return runtime("cudaGraphLaunch");
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return destroy("cudaGraphDestroy", graph);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  return destroy("cudaGraphExecDestroy", graph);
}

// Addresses are pages of the host that nobody has written: they take no memory.
CUresult cuMemAddressReserve(CUdeviceptr* address, std::size_t bytes, std::size_t, CUdeviceptr,
                             unsigned long long) {
  const CUresult result = driver("cuMemAddressReserve");
  if (result != CUDA_SUCCESS) return result;
  void* reserved = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ++fake.open;
  *address = reinterpret_cast<CUdeviceptr>(reserved);
  return result;
}
CUresult cuMemAddressFree(CUdeviceptr address, std::size_t bytes) {
  --fake.open;
  ::munmap(reinterpret_cast<void*>(address), bytes);
  return driver("cuMemAddressFree");
}
CUresult cuMemCreate(CUmemGenericAllocationHandle* memory, std::size_t, const CUmemAllocationProp*,
                     unsigned long long) {
  const CUresult result = driver("cuMemCreate");
  if (result != CUDA_SUCCESS) return result;
  ++fake.open;
  *memory = 1;
  return result;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle) {
  --fake.open;
  return driver("cuMemRelease");
}
CUresult cuMemMap(CUdeviceptr address, std::size_t, std::size_t, CUmemGenericAllocationHandle,
                  unsigned long long) {
  const CUresult result = driver("cuMemMap");
  if (result == CUDA_SUCCESS && mapped.insert(address).second) ++fake.open;
  return result;
}
CUresult cuMemUnmap(CUdeviceptr address, std::size_t bytes) {
  for (CUdeviceptr chunk = address; chunk < address + bytes; chunk += kChunkBytes)
    fake.open -= static_cast<int>(mapped.erase(chunk));
  return driver("cuMemUnmap");
}
CUresult cuMemSetAccess(CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
  return driver("cuMemSetAccess");
}
