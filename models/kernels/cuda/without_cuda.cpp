// A build without an nvcc: the table and the device functions say that there is no device.

#include "models/kernels/device.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels {
namespace {

template <class Call>
HearthStatus no_device(const Call*, void*) {
  return HEARTH_NO_DEVICE;
}

}  // namespace
}  // namespace hearth::kernels

const HearthKernels* hearth_kernels_cuda() {
  using namespace hearth::kernels;
  static const HearthKernels table = {
      .name = "cuda",
#define OPERATION(name, Call) .name = &no_device<Call>,
#include "models/kernels/operations.def"
  };
  return &table;
}

const char* hearth_device_trouble() {
  return "this build has no CUDA";
}

int32_t hearth_device_error() {
  return 0;
}
int32_t hearth_device_architectures(int32_t*, int32_t) {
  return 0;
}
HearthStatus hearth_device_count(int32_t*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_device_use(int32_t) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_device_facts(HearthDeviceFacts*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_device_allocate(uint64_t, void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_device_free(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_address_reserve(uint64_t, void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_address_release(void*, uint64_t) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_address_map(void*, uint64_t) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_address_unmap(void*, uint64_t) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_pinned_allocate(uint64_t, void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_pinned_free(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_stream_open(int32_t, void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_stream_close(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_stream_wait(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_stream_check(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_copy(void*, const void*, uint64_t, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_write(void*, const void*, uint64_t, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_clear(void*, uint64_t, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_event_open(void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_event_close(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_event_record(void*, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_event_follow(void*, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_event_wait(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_device_tick(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_graph_begin(void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_graph_end(void*, void**) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_graph_launch(void*, void*) {
  return HEARTH_NO_DEVICE;
}
HearthStatus hearth_graph_close(void*) {
  return HEARTH_NO_DEVICE;
}
