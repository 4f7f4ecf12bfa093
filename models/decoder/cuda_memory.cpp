#include "models/decoder/cuda_memory.h"

#include <algorithm>

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

// What went wrong, with the driver's words. Throws where it is the end of the process.
Error trouble(HearthStatus status, const std::string& doing) {
  throw_if_lost(hearth_device_error(), fmt::format("{} ({})", doing, hearth_device_trouble()));
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

// A device that fails at what it has long been doing does not come back, but for lack of memory.
Result<void> alive(HearthStatus status, const char* doing) {
  if (status == HEARTH_OK) return {};
  const Error error = trouble(status, doing);
  if (error.code == Code::kOutOfMemory) return error;
  throw generate::DeviceLost(error.what);
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
  Memory(void* stream, void* copy_stream) : stream_(stream), copy_stream_(copy_stream) {}
  ~Memory() override {
    for (void* event : arrivals_) hearth_event_close(event);
    hearth_stream_close(copy_stream_);
    hearth_stream_close(stream_);
  }

  const HearthKernels& kernels() const override { return *hearth_kernels_cuda(); }
  void* stream() const override { return stream_; }

  Result<DeviceBlock> allocate(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    TRY(void* const address, is_large(bytes) ? map_chunks(whole_chunks(bytes)) : small(bytes));
    DeviceBlock block(*this, address, bytes);
    if (is_large(bytes)) chunked_.push_back({address, bytes});
    CHECK_OK(clear(address, bytes));
    return block;
  }

  Result<DeviceBlock> allocate_shared(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    TRY(DeviceBlock block, allocate_pinned(bytes));
    CHECK_OK(clear(block.data(), bytes));
    return block;
  }

  Result<DeviceBlock> allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    const std::string doing = fmt::format("allocating {} bytes of pinned memory", bytes);
    if (const HearthStatus status = hearth_pinned_allocate(bytes, &memory); status != HEARTH_OK)
      return trouble(status, doing);
    shared_.push_back(memory);
    return DeviceBlock(*this, memory, bytes);
  }

  std::size_t image_piece_bytes() const override { return 2 * kChunkBytes; }

  Result<void> save(void* image, const void* source, std::size_t bytes) override {
    constexpr const char* kDoing = "copying weights from the GPU";
    CHECK_OK(alive(hearth_copy(image, source, bytes, copy_stream_), kDoing));
    return alive(hearth_stream_wait(copy_stream_), kDoing);
  }

  Result<void> evict() override {
    CHECK_OK(finish_fill());
    CHECK_OK(synchronize());
    for (const Chunked& each : chunked_)
      CHECK_OK(alive(hearth_address_unmap(each.address, whole_chunks(each.bytes)),
                     "giving memory of the GPU back"));
    evicted_ = true;
    filling_ = false;
    return {};
  }

  Result<void> readmit(const DeviceBlock& filled) override {
    for (std::size_t i = 0; i < chunked_.size(); ++i) {
      const std::size_t bytes = whole_chunks(chunked_[i].bytes);
      const HearthStatus status = hearth_address_map(chunked_[i].address, bytes);
      if (status == HEARTH_OK) continue;
      const Error error = trouble(status, fmt::format("allocating {} MB on the GPU", bytes >> 20));
      while (i-- > 0) hearth_address_unmap(chunked_[i].address, whole_chunks(chunked_[i].bytes));
      return error;
    }
    evicted_ = false;
    for (const Chunked& each : chunked_)
      if (each.address != filled.data()) CHECK_OK(clear(each.address, each.bytes));
    return {};
  }

  Result<void> fill(const DeviceBlock& block, std::span<const DeviceBlock> image,
                    std::span<const std::uint64_t> ends) override {
    parts_ = FillParts(block, ends, kChunkBytes);
    awaited_ = 0;
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < parts_.ends().size(); ++i) {
      const std::uint64_t end = parts_.ends()[i];
      CHECK_OK(copy_pieces(image, begin, end,
                           [&](std::uint64_t offset, const std::byte* source, std::uint64_t bytes) {
                             return alive(hearth_copy(block.as<std::byte>() + offset, source, bytes,
                                                      copy_stream_),
                                          "copying weights to the GPU");
                           }));
      TRY(void* const event, arrival(i));
      CHECK_OK(alive(hearth_event_record(event, copy_stream_), "marking what has arrived"));
      begin = end;
    }
    filling_ = true;
    return {};
  }

  Result<void> finish_fill() override {
    return alive(hearth_stream_wait(copy_stream_), "copying weights to the GPU");
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
    hearth_stream_wait(copy_stream_);
    hearth_stream_wait(stream_);
    if (std::erase(shared_, data) > 0) {
      hearth_pinned_free(data);
      return;
    }
    if (!is_large(bytes)) {
      hearth_device_free(data);
      return;
    }
    std::erase_if(chunked_, [&](const Chunked& each) { return each.address == data; });
    if (!evicted_) hearth_address_unmap(data, whole_chunks(bytes));
    hearth_address_release(data, whole_chunks(bytes));
  }

  Result<void> await_filled(std::span<const void* const> addresses) override {
    std::size_t wanted = 0;
    for (const void* address : addresses) wanted = std::max(wanted, parts_.until(address));
    return await_parts(wanted);
  }
  Result<void> await_filled() override { return await_parts(parts_.ends().size()); }

  // A part has arrived when all before it have.
  Result<void> await_parts(std::size_t wanted) {
    if (wanted <= awaited_) return {};
    CHECK_OK(alive(hearth_event_follow(arrivals_[wanted - 1], stream_), "waiting for weights"));
    awaited_ = wanted;
    filling_ = awaited_ < parts_.ends().size();
    return {};
  }

  // The event of part `number`; they are made as they are needed and kept.
  Result<void*> arrival(std::size_t number) {
    if (number < arrivals_.size()) return arrivals_[number];
    void* event = nullptr;
    CHECK_OK(done(hearth_event_open(&event), "making an event"));
    arrivals_.push_back(event);
    return event;
  }

  struct Chunked {
    void* address = nullptr;
    std::size_t bytes = 0;
  };

  void* stream_;
  void* copy_stream_;  // of weights that come and go
  std::vector<void*> shared_;
  std::vector<Chunked> chunked_;
  bool evicted_ = false;
  FillParts parts_;
  std::vector<void*> arrivals_;  // an event a part
  std::size_t awaited_ = 0;      // parts that the stream waits for already
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
  void* copy_stream = nullptr;
  const auto opened = done(hearth_stream_open(0, &copy_stream), "opening a stream on the GPU");
  if (!opened) {
    hearth_stream_close(stream);
    return opened.error();
  }
  return std::unique_ptr<CudaMemory>(std::make_unique<Memory>(stream, copy_stream));
}

}  // namespace hearth::decoder
