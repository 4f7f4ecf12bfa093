#include "models/decoder/cuda_memory.h"

#include <fmt/format.h>

#include "models/generate/fault.h"
#include "models/kernels/device.h"

namespace hearth::decoder {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{HEARTH_CHUNK_MIB} << 20;

std::size_t whole_chunks(std::size_t bytes) {
  return (bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
}

// Blocks from half a chunk on are chunks of virtual memory, smaller ones the driver's.
bool is_large(std::size_t bytes) {
  return bytes >= kChunkBytes / 2;
}

// What went wrong, with the driver's words.
Error trouble(HearthStatus status, const std::string& doing) {
  const Result<void> meaning = check_status(status, doing.c_str());
  const char* words = hearth_device_trouble();
  Error error = meaning.error();
  if (words[0] != '\0') error.what += fmt::format(" ({})", words);
  return error;
}

Result<void> done(HearthStatus status, const char* doing) {
  if (status == HEARTH_OK) return {};
  return trouble(status, doing);
}

Result<void*> map_chunks(std::size_t bytes) {
  void* address = nullptr;
  CHECK_OK(done(hearth_address_reserve(bytes, &address), "reserving addresses on the GPU"));
  const HearthStatus status = hearth_address_map(address, bytes);
  if (status == HEARTH_OK) return address;
  const Error error = trouble(status, fmt::format("allocating {} MB on the GPU", bytes >> 20));
  hearth_address_release(address, bytes);
  return error;
}

Result<void*> small(std::size_t bytes) {
  void* memory = nullptr;
  CHECK_OK(done(hearth_device_allocate(bytes, &memory), "allocating on the GPU"));
  return memory;
}

// A device that fails at what it has long been doing does not come back.
Result<void> alive(HearthStatus status, const char* doing) {
  if (status == HEARTH_OK) return {};
  throw generate::DeviceLost(trouble(status, doing).what);
}

class CapturedGraph : public Graph {
 public:
  CapturedGraph(void* graph, void* stream) : graph_(graph), stream_(stream) {}
  ~CapturedGraph() override { hearth_graph_close(graph_); }
  Result<void> launch() override {
    return done(hearth_graph_launch(graph_, stream_), "starting a captured step");
  }

 private:
  void* graph_;
  void* stream_;
};

// Blocks are chunks of virtual memory where they are large, and pinned memory where they are
// shared.
class Memory : public CudaMemory {
 public:
  explicit Memory(void* stream) : stream_(stream) {}
  ~Memory() override { hearth_stream_close(stream_); }

  const HearthKernels& kernels() const override { return *hearth_kernels_cuda(); }
  void* stream() const override { return stream_; }

  Result<DeviceBlock> allocate(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    TRY(void* const address, is_large(bytes) ? map_chunks(whole_chunks(bytes)) : small(bytes));
    DeviceBlock block(*this, address, bytes);
    CHECK_OK(clear(address, bytes));
    return block;
  }

  Result<DeviceBlock> allocate_shared(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    void* memory = nullptr;
    const std::string doing = fmt::format("allocating {} bytes of pinned memory", bytes);
    if (const HearthStatus status = hearth_pinned_allocate(bytes, &memory); status != HEARTH_OK)
      return trouble(status, doing);
    shared_.push_back(memory);
    DeviceBlock block(*this, memory, bytes);
    CHECK_OK(clear(memory, bytes));
    return block;
  }

  Result<void> write(void* target, const void* source, std::size_t bytes) override {
    return alive(hearth_write(target, source, bytes, stream_), "copying to the GPU");
  }
  Result<void> copy(void* target, const void* source, std::size_t bytes) override {
    return alive(hearth_copy(target, source, bytes, stream_), "copying on the GPU");
  }
  Result<void> clear(void* target, std::size_t bytes) override {
    return alive(hearth_clear(target, bytes, stream_), "clearing memory of the GPU");
  }
  Result<void> synchronize() override {
    return alive(hearth_stream_wait(stream_), "waiting for the GPU");
  }
  Result<void> read(void* target, const void* source, std::size_t bytes) override {
    CHECK_OK(alive(hearth_copy(target, source, bytes, stream_), "copying from the GPU"));
    return synchronize();
  }
  Result<void> check() override { return alive(hearth_stream_check(stream_), "the GPU's work"); }

  Result<void> begin() override { return done(hearth_graph_begin(stream_), "recording a step"); }
  Result<std::unique_ptr<Graph>> end() override {
    void* graph = nullptr;
    CHECK_OK(done(hearth_graph_end(stream_, &graph), "making a graph of a recorded step"));
    return std::unique_ptr<Graph>(new CapturedGraph(graph, stream_));
  }
  void abandon() noexcept override { hearth_graph_end(stream_, nullptr); }

 private:
  void release(void* data, std::size_t bytes) noexcept override {
    hearth_stream_wait(stream_);
    if (std::erase(shared_, data) > 0) {
      hearth_pinned_free(data);
      return;
    }
    if (!is_large(bytes)) {
      hearth_device_free(data);
      return;
    }
    hearth_address_unmap(data, whole_chunks(bytes));
    hearth_address_release(data, whole_chunks(bytes));
  }

  void* stream_;
  std::vector<void*> shared_;
};

}  // namespace

Result<std::unique_ptr<CudaMemory>> cuda_memory(int device) {
  CHECK_OK(done(hearth_device_use(device), "opening the GPU"));
  HearthDeviceFacts facts{};
  CHECK_OK(done(hearth_device_facts(&facts), "asking the GPU what it is"));
  if (facts.kernel_code == 0)
    return fail(Code::kUnsupported,
                fmt::format("this build has no kernels for {} (compute capability {}.{})",
                            facts.name, facts.capability / 10, facts.capability % 10),
                fmt::format("Build hearth with -DHEARTH_CUDA_ARCHITECTURES={}.", facts.capability));
  constexpr std::int32_t kUrgent = 1;
  void* stream = nullptr;
  CHECK_OK(done(hearth_stream_open(kUrgent, &stream), "opening a stream on the GPU"));
  return std::unique_ptr<CudaMemory>(std::make_unique<Memory>(stream));
}

}  // namespace hearth::decoder
