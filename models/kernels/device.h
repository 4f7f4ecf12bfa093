/* A CUDA device behind a C ABI: memory whose addresses survive eviction, pinned memory, streams,
 * events, captured graphs. What an engine needs beside kernels.h, without libtorch.
 *
 * Errors: HEARTH_NO_DEVICE in a build without CUDA or on a machine without a device,
 * HEARTH_OUT_OF_MEMORY, HEARTH_BAD_ARGUMENT for a null pointer or a size that is no multiple of
 * what is asked for, HEARTH_LAUNCH_FAILED for everything else that the driver refuses;
 * hearth_device_trouble() then has its words. Nothing is given out on an error.
 *
 * Threads: functions without a stream from any thread; those of one stream from one thread at a
 * time. Everything works on the device that the calling thread uses (hearth_device_use).
 */
#pragma once

#include "models/kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the driver said last on this thread, "" when it never complained. Valid until the thread's
 * next call. */
const char* hearth_device_trouble(void);

/* The number of the CUDA error that made the last call on this thread fail, a launch of kernels.h
 * included; 0: none did. fault_class.h says what it means. Asking once more gives 0 for a launch.
 */
int32_t hearth_device_error(void);

typedef struct HearthDeviceFacts {
  char name[256];
  int32_t capability;  /* 10 major + minor */
  int32_t kernel_code; /* the architecture whose machine code of our kernels runs here, 0: none, and
                          the driver would have to compile for tens of seconds */
  uint64_t total_bytes, free_bytes;
} HearthDeviceFacts;

/* How many architectures the build has machine code for; the first `most` of them, ascending, as
 * 10 major + minor. Asks no device; 0 in a build without CUDA. */
int32_t hearth_device_architectures(int32_t* architectures, int32_t most);

HearthStatus hearth_device_count(int32_t* count);
HearthStatus hearth_device_use(int32_t device);
HearthStatus hearth_device_facts(HearthDeviceFacts* facts);

/* --- memory ----------------------------------------------------------------------------------- */

/* Memory for small things, of undefined content. */
HearthStatus hearth_device_allocate(uint64_t bytes, void** memory);
HearthStatus hearth_device_free(void* memory);

enum { HEARTH_CHUNK_MIB = 32 }; /* address space is reserved and filled in pieces of this size */

/* Address space without memory, `bytes` a multiple of a chunk. The address stays the same however
 * often memory is mapped and unmapped, so what points there (a captured graph) stays valid. */
HearthStatus hearth_address_reserve(uint64_t bytes, void** address);
HearthStatus hearth_address_release(void* address, uint64_t bytes);
/* Memory behind [address, address + bytes), whole chunks; undefined content. All or nothing. */
HearthStatus hearth_address_map(void* address, uint64_t bytes);
/* Gives the memory back. The caller has waited for everything that uses it. */
HearthStatus hearth_address_unmap(void* address, uint64_t bytes);

/* Pinned host memory, which kernels reach at the same address. */
HearthStatus hearth_pinned_allocate(uint64_t bytes, void** memory);
HearthStatus hearth_pinned_free(void* memory);

/* --- streams ---------------------------------------------------------------------------------- */

/* `urgent`: its kernels are placed before those of streams that are not. */
HearthStatus hearth_stream_open(int32_t urgent, void** stream);
HearthStatus hearth_stream_close(void* stream);
HearthStatus hearth_stream_wait(void* stream);
/* Whether the device still works; does not wait. */
HearthStatus hearth_stream_check(void* stream);

/* To and from any memory, in the order of the stream. */
HearthStatus hearth_copy(void* to, const void* from, uint64_t bytes, void* stream);
/* `from` is the host's and may change as soon as it returns. */
HearthStatus hearth_write(void* to, const void* from, uint64_t bytes, void* stream);
HearthStatus hearth_clear(void* to, uint64_t bytes, void* stream);

HearthStatus hearth_event_open(void** event);
HearthStatus hearth_event_close(void* event);
HearthStatus hearth_event_record(void* event, void* stream);
/* What is launched on `stream` from now on waits for the event. */
HearthStatus hearth_event_follow(void* event, void* stream);
HearthStatus hearth_event_wait(void* event);

/* A kernel of no effect: now and then, it keeps the clocks of an idle device up. */
HearthStatus hearth_device_tick(void* stream);

/* --- graphs ----------------------------------------------------------------------------------- */

/* From begin to end, launches on `stream` by this thread are recorded instead of run; other threads
 * may allocate meanwhile. */
HearthStatus hearth_graph_begin(void* stream);
/* Ready to launch: instantiated and on the device. `graph` null: what was recorded is dropped. */
HearthStatus hearth_graph_end(void* stream, void** graph);
HearthStatus hearth_graph_launch(void* graph, void* stream);
HearthStatus hearth_graph_close(void* graph);

#ifdef __cplusplus
}
#endif
