// A device whose launches can be recorded and made again, as CUDA's graphs can, on the plain
// kernels: what a recorded step reads from the host's variables instead of from device memory comes
// out wrong here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "models/decoder/device_memory.h"
#include "models/decoder/step_graphs.h"
#include "models/kernels/kernels.h"

namespace hearth::decoder {

using Launches = std::vector<std::function<HearthStatus()>>;

// Where calls of the recording table go; null: they are made at once.
inline Launches*& recording() {
  static Launches* launches = nullptr;
  return launches;
}

template <auto kKernel>
struct Recorded;

template <class Call, HearthStatus (*HearthKernels::*kKernel)(const Call*, void*)>
struct Recorded<kKernel> {
  static HearthStatus run(const Call* call, void*) {
    const auto function = hearth_kernels_ref()->*kKernel;
    if (recording() == nullptr) return function(call, nullptr);
    recording()->push_back([function, copy = *call] { return function(&copy, nullptr); });
    return HEARTH_OK;
  }
};

inline const HearthKernels& recording_kernels() {
  static const HearthKernels kernels = [] {
    HearthKernels table = *hearth_kernels_ref();
#define OPERATION(name, Call) table.name = Recorded<&HearthKernels::name>::run;
#include "models/kernels/operations.def"
    return table;
  }();
  return kernels;
}

class RecordedGraph : public Graph {
 public:
  RecordedGraph(Launches launches, int& replays)
      : launches_(std::move(launches)), replays_(replays) {}
  Result<void> launch() override {
    ++replays_;
    for (const auto& launch : launches_) CHECK_OK(check_status(launch(), "a recorded kernel"));
    return {};
  }

 private:
  Launches launches_;
  int& replays_;
};

class RecordingMemory : public DeviceMemory, public GraphCapture {
 public:
  RecordingMemory() : host_(host_memory(recording_kernels())) {}
  ~RecordingMemory() override { recording() = nullptr; }

  const HearthKernels& kernels() const override { return host_->kernels(); }
  void* stream() const override { return nullptr; }
  GraphCapture* capture() override { return this; }
  Result<DeviceBlock> allocate(std::size_t bytes) override { return host_->allocate(bytes); }
  Result<DeviceBlock> allocate_shared(std::size_t bytes) override {
    return host_->allocate_shared(bytes);
  }
  Result<void> write(void* target, const void* source, std::size_t bytes) override {
    EXPECT_EQ(recording(), nullptr) << "a copy from the host inside a recorded step";
    return host_->write(target, source, bytes);
  }
  Result<void> copy(void* target, const void* source, std::size_t bytes) override {
    return host_->copy(target, source, bytes);
  }
  Result<void> clear(void* target, std::size_t bytes) override {
    return host_->clear(target, bytes);
  }
  Result<void> synchronize() override { return host_->synchronize(); }
  Result<void> read(void* target, const void* source, std::size_t bytes) override {
    return host_->read(target, source, bytes);
  }
  Result<void> check() override { return {}; }

  Result<void> begin() override {
    recording() = &launches_;
    return {};
  }
  Result<std::unique_ptr<Graph>> end() override {
    recording() = nullptr;
    return std::unique_ptr<Graph>(
        std::make_unique<RecordedGraph>(std::exchange(launches_, {}), replays));
  }
  void abandon() noexcept override { recording() = nullptr; }

  int replays = 0;

 private:
  void release(void*, std::size_t) noexcept override {}  // blocks are the host memory's

  std::unique_ptr<DeviceMemory> host_;
  Launches launches_;
};

}  // namespace hearth::decoder
