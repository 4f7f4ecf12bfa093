// What a model is to the worker: families that recognise files, models that answer.
//
// No torch here: this is the one header of models/ that daemon/ includes.
//
// Threads. The worker has four: `link` (frames), `prepare` (tokenise, resize), `load` (disk to
// memory) and `engine` (everything on the device). A function that must run on the engine thread
// takes an OnEngine, which only EngineThread can make.
//
// Lifetime. A Model is shared: the worker's table holds it, and so does every running request.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/progress.h"
#include "shm/base/fd.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"
#include "shm/tensor.h"

namespace hearth {
class EngineThread;  // daemon/worker
}

namespace hearth::models {

using Clock = std::chrono::steady_clock;

// Proof of being on the engine thread. Only that thread, and a test that stands in for it, can make
// one; a copy may be passed down the stack, never to another thread.
class OnEngine {
 private:
  OnEngine() = default;
  friend class hearth::EngineThread;
  friend struct EngineThreadForTest;  // defined in tests/ only
};

// A file somebody opened for us. Read with pread only; never mapped, never reopened by path.
struct ModelFile {
  std::string label;  // name inside the model's folder: "config.json"
  std::shared_ptr<const Fd> fd;
};
using ModelFiles = std::vector<ModelFile>;

enum class DeviceKind { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;
  std::string name;
  std::uint64_t memory_bytes = 0;
  std::uint32_t threads = 0;  // cpu: compute threads
  // cuda: as "9.0", of the device, and those that this build has machine code for.
  std::string compute_capability;
  std::vector<std::string> built_for;
  std::uint64_t bandwidth_bytes_per_s = 0;  // of its memory; 0: unknown
};

// A file that keeps rounded weights as they lie in memory, so that the next load need not round
// them again. Written and read by a load; which weights it is for, only the load can tell.
struct WeightsFile {
  enum class Outcome {
    kUnused,    // nothing is rounded
    kRead,      // the weights are from it
    kWritten,   // it holds them, whole
    kDamaged,   // it held something else; the load has failed and can be tried without it
    kTooLarge,  // it would be larger than most_bytes
    kDiskFull,  // it would leave less than keep_free of the disk
    kFailed     // it could not be written
  };
  std::shared_ptr<const Fd> fd;
  bool writes = false;                          // it is empty, and to be written
  std::uint64_t most_bytes = 0, keep_free = 0;  // of a file that is written
  Outcome outcome = Outcome::kUnused;
  std::uint64_t nbytes = 0;  // its size, or what it would have been
};

struct LoadOptions {
  // Of offer_model: auto, float32, bfloat16, or what the decoder's linears are rounded to while
  // they load: float8, int8, int4 (everything else is bfloat16 then).
  std::string dtype = "auto";
  // Of offer_model: auto, or bfloat16 to keep the output layer from being rounded with the rest.
  std::string head = "auto";
  // Of offer_model: auto, flash, sdpa, eager: who computes attention of many rows.
  std::string attention = "auto";
  Device device;
  std::uint32_t slots = 1;  // sequences that run at once
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> on_progress;
  const std::atomic<bool>* cancelled = nullptr;  // polled between tensors; may be null
  WeightsFile* weights_file = nullptr;           // its outcome is set; may be null
};

// One generate or encode request inside the worker. Shared by the threads it passes; only
// `cancelled` and the listener are touched by more than one of them.
class Job {
 public:
  explicit Job(std::uint32_t job_id, std::uint32_t user_id = 0) : id(job_id), user(user_id) {}
  const std::uint32_t id;
  const std::uint32_t user;  // caches are kept apart by it
  std::atomic<bool> cancelled{false};
  Clock::time_point arrived = Clock::now();
};

// A result in private host memory: dense, row-major. `owner` keeps `bytes` alive.
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// What an encode request gives: hidden[i] is [tokens, hidden] of request.layers[i]. `reply` is
// complete but for its tensors, which are made when the bytes lie in an out arena.
struct Encoding {
  std::vector<HostTensor> hidden;
  contract::Encoded reply;
};

// Where a request's events go. Called on the prepare and engine threads; implementations post and
// return at once. Exactly one of done/encoded/failed is called, once, as the last call.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void token(contract::Token piece) = 0;
  virtual void progress(std::string_view stage, std::uint64_t done, std::uint64_t total) = 0;
  virtual void done(contract::Generated reply) = 0;
  virtual void encoded(Encoding result) = 0;
  virtual void failed(Error error) = 0;
};

// A request made ready for the engine: token ids, patches, sampling. Each family derives its own.
class Prompt {
 public:
  virtual ~Prompt() = default;
};

// Capability: continues a chat. What prepare() gives goes to Model::submit, as with the others.
class Generates {
 public:
  virtual ~Generates() = default;

  // Prepare thread; const and safe beside the engine thread. `tensors` are the request's tensors in
  // order of appearance, in memory the client can still write; all that is needed is copied before
  // this returns. Errors: bad_picture, bad_request, too_long, unsupported, cancelled.
  virtual Result<std::unique_ptr<Prompt>> prepare(const contract::Generate& request,
                                                  std::span<const TensorView> tensors,
                                                  const Job& job) const = 0;
};

// Capability: gives the hidden states of a chat's prompt.
class Encodes {
 public:
  virtual ~Encodes() = default;

  // As Generates::prepare. Errors also: bad_request for a layer that the model does not have.
  virtual Result<std::unique_ptr<Prompt>> prepare(const contract::Encode& request,
                                                  std::span<const TensorView> tensors,
                                                  const Job& job) const = 0;
};

// Capability: leaves the device and comes back from pinned host memory, without its files and
// without another warm-up: what points into its memory stays valid.
class Rests {
 public:
  virtual ~Rests() = default;

  // Pinned memory of the image that is there; 0: there is none. As keep_image().
  virtual std::uint64_t image_bytes() const = 0;
  // One thread at a time, beside the engine thread. Makes the image from which the model comes
  // back, MemoryPlan::image_bytes, unless it is there. Bytes copied. Errors: out_of_memory; the
  // model is as it was. May throw what the model's library throws.
  virtual Result<std::uint64_t> keep_image() = 0;
  // Likewise, but not while the model rests.
  virtual Result<void> drop_image() = 0;

  // Engine thread. Gives all memory of the device back, and with it everything cached. Needs the
  // image. Errors: busy while a sequence is open. May throw.
  virtual Result<void> rest(OnEngine) = 0;
  // Engine thread, while it rests. Takes the memory again and begins to copy; submit() may follow
  // at once, and its work waits for what it needs. Errors: out_of_memory; it rests on. May throw.
  virtual Result<void> restore(OnEngine) = 0;
};

class Model {
 public:
  virtual ~Model() = default;

  // Engine thread, once, before the first submit. Runs every kind of work that a request may cause,
  // so that the first request is as fast as later ones. Errors: those of a request. May throw what
  // the model's library throws.
  virtual Result<void> warm_up(OnEngine) { return {}; }

  // Engine thread. Begins what one of this model's capabilities prepared. Takes a free sequence
  // slot, whatever the capability; the broker never dispatches more than there are.
  virtual void submit(OnEngine, std::shared_ptr<Job> job, std::unique_ptr<Prompt> prompt,
                      std::shared_ptr<Listener> listener) = 0;

  // Engine thread. At most one prefill chunk and one decode step for all running sequences; ends
  // cancelled ones. Returns whether sequences remain. Never throws. Errors: only when the device is
  // lost and the worker must end (every open job has been failed by then).
  virtual Result<bool> advance(OnEngine) = 0;

  virtual std::string_view family() const = 0;
  virtual std::string_view dtype() const = 0;  // "float32", "bfloat16", "float8", "int8", "int4"
  virtual std::uint64_t resident_bytes() const = 0;
  // Engine thread. The caches of this model as they are now; `model` is left empty.
  virtual std::vector<contract::CacheEntry> caches(OnEngine) const { return {}; }
  virtual Generates* generates() { return nullptr; }
  virtual Encodes* encodes() { return nullptr; }
  // Null: it can only be dropped, as on the CPU, where an image would take what the weights do.
  virtual Rests* rests() { return nullptr; }
};

// Says what a chat would take of a model that need not be loaded. Immutable; any thread.
class TokenCounter {
 public:
  virtual ~TokenCounter() = default;
  // Of the messages' tensors only the shapes count. Errors: bad_picture, bad_request, unsupported.
  virtual Result<contract::TokensCounted> count(const contract::CountTokens& request) const = 0;
};

// What detection says of files without loading them.
struct Detected {
  std::string family;
  std::vector<std::string> warnings;
};

struct Family {
  std::string_view name;
  // Cheap and pure: reads headers and JSON only. false: not mine. Errors: mine, but unusable
  // (bad_model naming file and tensor or key, unsupported naming the format).
  Result<bool> (*recognises)(const ModelFiles& files, std::vector<std::string>& warnings);
  // What load() would take on the device, from headers and JSON only. Errors: as recognises.
  Result<contract::MemoryPlan> (*plan)(const ModelFiles& files, const LoadOptions& options);
  // Reads headers, JSON and tokenizer, and keeps what counting needs. Errors: bad_model,
  // unsupported.
  Result<std::shared_ptr<const TokenCounter>> (*counter)(const ModelFiles& files,
                                                         const LoadOptions& options);
  // Load thread. Reads, checks and places the weights. Errors: bad_model, model_changed,
  // out_of_memory, unsupported, cancelled.
  Result<std::shared_ptr<Model>> (*load)(const ModelFiles& files, const LoadOptions& options);
  bool for_tests = false;  // fails, hangs and crashes on request: not served unless asked for
};

// The families that are served, in the order of families.def.
std::span<const Family* const> families();

// Serves the families for tests as well. Once, before any other thread runs.
void serve_test_families();

// Finds the family. Errors: bad_model or unsupported when none, or the right one, refuses.
Result<Detected> detect(const ModelFiles& files);
Result<contract::MemoryPlan> plan(const ModelFiles& files, const LoadOptions& options);
Result<std::shared_ptr<const TokenCounter>> counter(const ModelFiles& files,
                                                    const LoadOptions& options);
Result<std::shared_ptr<Model>> load(const ModelFiles& files, const LoadOptions& options);

// What an exception from a library means. `device_lost`: nothing in this process will work on the
// device again, and it must end; the error is worker_lost where another process will do, and
// device_failed where the device itself is gone. Knows torch's and CUDA's exceptions in a build
// with torch.
struct Fault {
  Error error;
  bool device_lost = false;
};
Fault describe(std::exception_ptr exception) noexcept;

// How the engine looks at pinned host memory.
enum class HostAccess { kRead, kReadWrite };

// Page-locks mapped host memory for the device. Both set, or neither: then, as on the CPU, nothing
// is pinned. Any thread; they take milliseconds. pin() may refuse, which harms nothing.
struct HostPinning {
  std::function<bool(std::span<const std::byte> memory, HostAccess access)> pin;
  std::function<void(std::span<const std::byte> memory)>
      unpin;  // what pin() took, before unmapping
};

// The device this build computes on: the first CUDA device, else the CPU; "cpu" and "cuda" insist.
// Errors: unsupported when a GPU is there but its driver is too old, or when `wanted` is absent.
struct Engine {
  Device device;
  // Engine thread: work of no effect, which keeps the clocks of an idle device up; returns at once.
  // Empty where that is of no use, as on the CPU.
  std::function<Result<void>()> tick;
  std::vector<std::string> remarks;  // for the log and the status
  HostPinning pinning;
  // What the device is doing; held_bytes is left to the caller. One thread at a time, none of those
  // that compute: it takes milliseconds. Empty: nobody knows. Errors: device_failed, when there is
  // no such device any more.
  std::function<Result<contract::DeviceState>()> read_state;
  // Engine thread, once, where device.bandwidth_bytes_per_s has to be measured; at most a tenth of
  // a second. 0: unknown. Empty: the device has it.
  std::function<std::uint64_t()> measure_bandwidth;
  // Engine thread: gives memory that is only kept for later back to the device. Bytes given back.
  // Empty: nothing is kept.
  std::function<std::uint64_t()> trim;
};
Result<Engine> open_engine(std::string_view wanted, std::uint32_t threads);

}  // namespace hearth::models
