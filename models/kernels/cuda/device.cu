// models/kernels/device.h by the CUDA runtime; virtual memory by the driver, whose functions are
// asked of the runtime, so that nothing links libcuda.

#include <cstdint>
#include <cstdio>
#include <cstring>

#include <cuda.h>
#include <cuda_runtime.h>

#include "models/kernels/cuda/launch.cuh"
#include "models/kernels/device.h"
#include "models/kernels/fault_class.h"

namespace hearth::kernels::cuda {
namespace {

constexpr std::uint64_t kChunkBytes = std::uint64_t{HEARTH_CHUNK_MIB} << 20;

thread_local char trouble[512] = "";
thread_local int error_number = 0;  // of that trouble

HearthStatus status_of(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return HEARTH_OK;
  cudaGetLastError();  // taken note of here
  error_number = error;
  std::snprintf(trouble, sizeof trouble, "%s: %s", call, cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation ? HEARTH_OUT_OF_MEMORY : from_cuda(error);
}

HearthStatus status_of(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return HEARTH_OK;
  error_number = result;
  std::snprintf(trouble, sizeof trouble, "%s: CUDA driver error %d", call,
                static_cast<int>(result));
  return result == CUDA_ERROR_OUT_OF_MEMORY ? HEARTH_OUT_OF_MEMORY : HEARTH_LAUNCH_FAILED;
}

// The driver's functions for virtual memory, from CUDA 10.2 on.
struct Driver {
  decltype(&cuMemAddressReserve) reserve = nullptr;
  decltype(&cuMemAddressFree) release = nullptr;
  decltype(&cuMemCreate) create = nullptr;
  decltype(&cuMemRelease) drop = nullptr;
  decltype(&cuMemMap) map = nullptr;
  decltype(&cuMemUnmap) unmap = nullptr;
  decltype(&cuMemSetAccess) allow = nullptr;
  cudaError_t error = cudaSuccess;

  Driver() {
    find("cuMemAddressReserve", &reserve);
    find("cuMemAddressFree", &release);
    find("cuMemCreate", &create);
    find("cuMemRelease", &drop);
    find("cuMemMap", &map);
    find("cuMemUnmap", &unmap);
    find("cuMemSetAccess", &allow);
  }

 private:
  template <class Function>
  void find(const char* name, Function* function) {
    constexpr unsigned kVersion = 12000;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSuccess;
    const cudaError_t asked =
        cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
    if (asked != cudaSuccess) error = asked;
    if (asked == cudaSuccess && result != cudaDriverEntryPointSuccess)
      error = cudaErrorInsufficientDriver;
    *function = reinterpret_cast<Function>(found);
  }
};

const Driver& driver() {
  static const Driver functions;
  return functions;
}

bool is_chunked(const void* address, std::uint64_t bytes) {
  return address != nullptr && bytes > 0 && bytes % kChunkBytes == 0;
}

CUmemAllocationProp on_device(int device) {
  CUmemAllocationProp place{};
  place.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  place.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  place.location.id = device;
  return place;
}

// One chunk of memory at an address. The mapping alone keeps the memory from then on.
HearthStatus map_chunk(CUdeviceptr address, const CUmemAllocationProp& place) {
  CUmemGenericAllocationHandle memory = 0;
  HearthStatus status = status_of(driver().create(&memory, kChunkBytes, &place, 0), "cuMemCreate");
  if (status != HEARTH_OK) return status;
  status = status_of(driver().map(address, kChunkBytes, 0, memory, 0), "cuMemMap");
  const HearthStatus dropped = status_of(driver().drop(memory), "cuMemRelease");
  if (status == HEARTH_OK && dropped != HEARTH_OK) driver().unmap(address, kChunkBytes);
  return status != HEARTH_OK ? status : dropped;
}

constexpr int kBuilt[] = {__CUDA_ARCH_LIST__};  // 100 major + 10 minor
constexpr int kBuiltCount = sizeof kBuilt / sizeof kBuilt[0];

// Whether machine code of this architecture is in the build; else the driver has made it from PTX.
bool is_built_for(int architecture) {
  for (const int built : kBuilt)
    if (built == 10 * architecture) return true;
  return false;
}

__global__ void tick() {
  wait_for_previous();
}

cudaStream_t stream_of(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

}  // namespace
}  // namespace hearth::kernels::cuda

using namespace hearth::kernels::cuda;

const char* hearth_device_trouble() {
  return trouble;
}

// What a launch was refused with is still the runtime's last error; the rest was taken note of.
int32_t hearth_device_error() {
  const cudaError_t launch = cudaGetLastError();
  return launch != cudaSuccess ? static_cast<int32_t>(launch) : error_number;
}

int32_t hearth_device_architectures(int32_t* architectures, int32_t most) {
  for (int i = 0; i < kBuiltCount && i < most; ++i) architectures[i] = kBuilt[i] / 10;
  return kBuiltCount;
}

HearthStatus hearth_device_count(int32_t* count) {
  int found = 0;
  const HearthStatus status = status_of(cudaGetDeviceCount(&found), "cudaGetDeviceCount");
  if (status == HEARTH_OK) *count = found;
  return status;
}

HearthStatus hearth_device_use(int32_t device) {
  return status_of(cudaSetDevice(device), "cudaSetDevice");
}

HearthStatus hearth_device_facts(HearthDeviceFacts* facts) {
  int device = 0;
  cudaDeviceProp properties{};
  HearthStatus status = status_of(cudaGetDevice(&device), "cudaGetDevice");
  if (status == HEARTH_OK)
    status = status_of(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  std::size_t free_bytes = 0, total_bytes = 0;
  if (status == HEARTH_OK)
    status = status_of(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  if (status != HEARTH_OK) return status;
  cudaFuncAttributes code{};
  const cudaError_t error = cudaFuncGetAttributes(&code, tick);
  if (error != cudaSuccess &&
      hearth::kernels::fault_class(error) != hearth::kernels::FaultClass::kProgram)
    return status_of(error, "cudaFuncGetAttributes");
  if (error != cudaSuccess) cudaGetLastError();  // no machine code for this device
  *facts = {};
  std::strncpy(facts->name, properties.name, sizeof facts->name - 1);
  facts->capability = 10 * properties.major + properties.minor;
  if (error == cudaSuccess && is_built_for(code.binaryVersion))
    facts->kernel_code = code.binaryVersion;
  facts->total_bytes = total_bytes;
  facts->free_bytes = free_bytes;
  return HEARTH_OK;
}

HearthStatus hearth_device_allocate(uint64_t bytes, void** memory) {
  if (memory == nullptr || bytes == 0) return HEARTH_BAD_ARGUMENT;
  return status_of(cudaMalloc(memory, bytes), "cudaMalloc");
}

HearthStatus hearth_device_free(void* memory) {
  return status_of(cudaFree(memory), "cudaFree");
}

HearthStatus hearth_address_reserve(uint64_t bytes, void** address) {
  if (address == nullptr || bytes == 0 || bytes % kChunkBytes != 0) return HEARTH_BAD_ARGUMENT;
  if (driver().error != cudaSuccess) return status_of(driver().error, "the driver's functions");
  CUdeviceptr reserved = 0;
  const HearthStatus status =
      status_of(driver().reserve(&reserved, bytes, kChunkBytes, 0, 0), "cuMemAddressReserve");
  if (status == HEARTH_OK) *address = reinterpret_cast<void*>(reserved);
  return status;
}

HearthStatus hearth_address_release(void* address, uint64_t bytes) {
  if (!is_chunked(address, bytes)) return HEARTH_BAD_ARGUMENT;
  return status_of(driver().release(reinterpret_cast<CUdeviceptr>(address), bytes),
                   "cuMemAddressFree");
}

HearthStatus hearth_address_map(void* address, uint64_t bytes) {
  if (!is_chunked(address, bytes)) return HEARTH_BAD_ARGUMENT;
  int device = 0;
  HearthStatus status = status_of(cudaGetDevice(&device), "cudaGetDevice");
  if (status != HEARTH_OK) return status;
  const CUmemAllocationProp place = on_device(device);
  const auto first = reinterpret_cast<CUdeviceptr>(address);
  std::uint64_t mapped = 0;
  for (; status == HEARTH_OK && mapped < bytes; mapped += kChunkBytes) {
    status = map_chunk(first + mapped, place);
    if (status != HEARTH_OK) break;
  }
  if (status == HEARTH_OK) {
    const CUmemAccessDesc access{place.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    status = status_of(driver().allow(first, bytes, &access, 1), "cuMemSetAccess");
  }
  if (status != HEARTH_OK && mapped > 0) driver().unmap(first, mapped);
  return status;
}

HearthStatus hearth_address_unmap(void* address, uint64_t bytes) {
  if (!is_chunked(address, bytes)) return HEARTH_BAD_ARGUMENT;
  return status_of(driver().unmap(reinterpret_cast<CUdeviceptr>(address), bytes), "cuMemUnmap");
}

HearthStatus hearth_pinned_allocate(uint64_t bytes, void** memory) {
  if (memory == nullptr || bytes == 0) return HEARTH_BAD_ARGUMENT;
  return status_of(cudaHostAlloc(memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
                   "cudaHostAlloc");
}

HearthStatus hearth_pinned_free(void* memory) {
  return status_of(cudaFreeHost(memory), "cudaFreeHost");
}

HearthStatus hearth_stream_open(int32_t urgent, void** stream) {
  if (stream == nullptr) return HEARTH_BAD_ARGUMENT;
  int least = 0, greatest = 0;
  cudaStream_t opened = nullptr;
  HearthStatus status = status_of(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                                  "cudaDeviceGetStreamPriorityRange");
  if (status == HEARTH_OK)
    status = status_of(cudaStreamCreateWithPriority(&opened, cudaStreamNonBlocking,
                                                    urgent != 0 ? greatest : least),
                       "cudaStreamCreateWithPriority");
  if (status == HEARTH_OK) *stream = opened;
  return status;
}

HearthStatus hearth_stream_close(void* stream) {
  return status_of(cudaStreamDestroy(stream_of(stream)), "cudaStreamDestroy");
}

HearthStatus hearth_stream_wait(void* stream) {
  return status_of(cudaStreamSynchronize(stream_of(stream)), "cudaStreamSynchronize");
}

HearthStatus hearth_stream_check(void* stream) {
  const cudaError_t error = cudaStreamQuery(stream_of(stream));
  return error == cudaErrorNotReady ? HEARTH_OK : status_of(error, "cudaStreamQuery");
}

HearthStatus hearth_copy(void* to, const void* from, uint64_t bytes, void* stream) {
  return status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)),
                   "cudaMemcpyAsync");
}

// From pageable memory the runtime copies before it returns; from pinned memory it does not.
HearthStatus hearth_write(void* to, const void* from, uint64_t bytes, void* stream) {
  cudaPointerAttributes source{};
  HearthStatus status =
      status_of(cudaPointerGetAttributes(&source, from), "cudaPointerGetAttributes");
  if (status == HEARTH_OK)
    status = status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(stream)),
                       "cudaMemcpyAsync");
  if (status == HEARTH_OK && source.type != cudaMemoryTypeUnregistered)
    status = hearth_stream_wait(stream);
  return status;
}

HearthStatus hearth_clear(void* to, uint64_t bytes, void* stream) {
  return status_of(cudaMemsetAsync(to, 0, bytes, stream_of(stream)), "cudaMemsetAsync");
}

HearthStatus hearth_event_open(void** event) {
  if (event == nullptr) return HEARTH_BAD_ARGUMENT;
  cudaEvent_t opened = nullptr;
  const HearthStatus status =
      status_of(cudaEventCreateWithFlags(&opened, cudaEventDisableTiming), "cudaEventCreate");
  if (status == HEARTH_OK) *event = opened;
  return status;
}

HearthStatus hearth_event_close(void* event) {
  return status_of(cudaEventDestroy(static_cast<cudaEvent_t>(event)), "cudaEventDestroy");
}

HearthStatus hearth_event_record(void* event, void* stream) {
  return status_of(cudaEventRecord(static_cast<cudaEvent_t>(event), stream_of(stream)),
                   "cudaEventRecord");
}

HearthStatus hearth_event_follow(void* event, void* stream) {
  return status_of(cudaStreamWaitEvent(stream_of(stream), static_cast<cudaEvent_t>(event), 0),
                   "cudaStreamWaitEvent");
}

HearthStatus hearth_event_wait(void* event) {
  return status_of(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize");
}

HearthStatus hearth_device_tick(void* stream) {
  return launch({dim3(1), 1}, stream, tick);
}

HearthStatus hearth_graph_begin(void* stream) {
  return status_of(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture");
}

HearthStatus hearth_graph_end(void* stream, void** graph) {
  cudaGraph_t recorded = nullptr;
  HearthStatus status =
      status_of(cudaStreamEndCapture(stream_of(stream), &recorded), "cudaStreamEndCapture");
  cudaGraphExec_t ready = nullptr;
  if (status == HEARTH_OK && graph != nullptr) {
    status = status_of(cudaGraphInstantiate(&ready, recorded, 0), "cudaGraphInstantiate");
    if (status == HEARTH_OK)
      status = status_of(cudaGraphUpload(ready, stream_of(stream)), "cudaGraphUpload");
  }
  if (recorded != nullptr) {
    const HearthStatus dropped = status_of(cudaGraphDestroy(recorded), "cudaGraphDestroy");
    if (status == HEARTH_OK) status = dropped;
  }
  if (status == HEARTH_OK && graph != nullptr)
    *graph = ready;
  else if (ready != nullptr)
    cudaGraphExecDestroy(ready);
  return status;
}

HearthStatus hearth_graph_launch(void* graph, void* stream) {
  return status_of(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)),
                   "cudaGraphLaunch");
}

HearthStatus hearth_graph_close(void* graph) {
  return status_of(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)),
                   "cudaGraphExecDestroy");
}
