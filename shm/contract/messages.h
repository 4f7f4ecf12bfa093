// What hearth's processes say to each other, as plain structs.
// Generated from shm/contract/messages.toml by generate.py; edit that file instead.
// Any thread: values and pure functions.
// clang-format off
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.h"

namespace hearth::contract {

inline constexpr std::uint32_t kProtocolVersion = 2;
inline constexpr std::uint32_t kOldestProtocolVersion = 2;
inline constexpr std::string_view kSchemaHash = "31ae2f12ece7e0ff";

// Who may send a message and what may follow it: see messages.toml.
enum class Kind { kUnknown, kConnection, kRequest, kEvent, kReply, kLink };

std::string_view name_of_type(std::uint8_t type);  // "unknown" for types nobody declared
Kind kind_of_type(std::uint8_t type);
bool may_carry_descriptors(std::uint8_t type);

// A dense, row-major tensor inside an arena. shm/tensor.h holds the rules.
struct Tensor {
  std::uint32_t arena = 0;  // arena id from arena_grant
  std::uint64_t offset = 0;  // bytes from the arena's start; a multiple of 64, at least 4096
  std::uint64_t nbytes = 0;  // product of shape times item size
  std::string dtype;  // element type
  std::vector<std::int64_t> shape;  // dimensions, outermost first
  std::string layout;  // meaning of the dimensions, such as HWC or BHWC
  std::string range;  // meaning of the values: unit (0..1) or u8 (0..255)
  friend bool operator==(const Tensor&, const Tensor&) = default;
};

// One piece of a chat message, in the order in which the model shall see it.
struct ContentPart {
  std::string kind;  // which of the fields below counts
  std::string text;  // UTF-8; special tokens in it are read as plain text
  std::optional<Tensor> tensor;  // image: [height, width, channels]; video: [frames, height, width, channels]; u8, channels 1, 3 or 4
  double fps = 0.0;  // video: frames per second that frame_indices count; a video without is refused
  std::vector<std::int64_t> frame_indices;  // video: which frame of its source each frame of the tensor is, rising; frame i was seen at frame_indices[i] / fps seconds; empty: 0, 1, 2, …
  std::int64_t min_pixels = 0;  // smallest area of this picture, or of all frames of this video together, after resizing; 0: the request's
  std::int64_t max_pixels = 0;  // largest area of this picture, or of all frames of this video together, after resizing; 0: the request's
  friend bool operator==(const ContentPart&, const ContentPart&) = default;
};

// One turn.
struct ChatMessage {
  std::string role;  // who speaks
  std::vector<ContentPart> content;  // pieces in order
  friend bool operator==(const ChatMessage&, const ChatMessage&) = default;
};

// What this service allows a connection.
struct Limits {
  std::uint32_t frame_bytes = 0;  // largest body of a frame
  std::uint32_t open_requests = 0;  // requests open at once
  std::uint32_t arenas = 0;  // arenas held at once
  std::uint64_t arena_bytes = 0;  // sum of all arenas
  std::uint32_t tensors = 0;  // tensors in one request
  friend bool operator==(const Limits&, const Limits&) = default;
};

// What all connections of one user may hold together.
struct Quota {
  std::uint32_t connections = 0;  // connections at once
  std::uint32_t open_requests = 0;  // requests open at once
  std::uint32_t arenas = 0;  // arenas held at once, both directions
  std::uint64_t arena_bytes = 0;  // sum of all arenas, both directions
  std::uint32_t tensors = 0;  // tensors in open requests and in results not yet released
  friend bool operator==(const Quota&, const Quota&) = default;
};

// A result in an out arena, named by where it begins.
struct Slot {
  std::uint32_t arena = 0;  // arena id from out_arena
  std::uint64_t offset = 0;  // as in the tensor's descriptor
  friend bool operator==(const Slot&, const Slot&) = default;
};

// What a worker computes on.
struct Device {
  std::string kind;  // none: a build without an engine
  std::string name;  // as the driver or /proc/cpuinfo calls it
  std::uint64_t memory_bytes = 0;  // device memory, or RAM for cpu
  std::uint32_t threads = 0;  // cpu: threads used for computing
  std::string compute_capability;  // cuda: such as 9.0
  std::vector<std::string> built_for;  // cuda: compute capabilities that this build has machine code for
  std::uint64_t bandwidth_bytes_per_s = 0;  // what its memory can give: cuda from the driver's clock and bus width, cpu measured when the worker starts; 0: unknown
  friend bool operator==(const Device&, const Device&) = default;
};

// What the device was doing when a request ended. A number that cannot be read is absent.
struct DeviceState {
  std::string source;  // where the numbers are from: nvml, procfs; or why there are none
  std::optional<std::uint32_t> clock_mhz;  // of the multiprocessors, or of the processor's cores on average
  std::optional<std::uint32_t> memory_clock_mhz;  // of the device's memory
  std::optional<double> power_w;  // power draw
  std::optional<double> power_limit_w;  // the most it may draw
  std::optional<std::uint32_t> temperature_c;  // of the chip
  std::vector<std::string> throttled_by;  // what holds the clock down: power_cap, thermal, hardware_slowdown, …
  std::optional<std::uint64_t> memory_used_bytes;  // of the device, by all processes
  std::optional<std::uint64_t> memory_total_bytes;  // of the device
  std::uint64_t held_bytes = 0;  // what hearth's models hold of it, by their plans
  std::optional<std::uint64_t> torch_used_bytes;  // cuda: libtorch's allocator, in use
  std::optional<std::uint64_t> torch_kept_bytes;  // cuda: libtorch's allocator, taken from the driver
  friend bool operator==(const DeviceState&, const DeviceState&) = default;
};

// One model as list_models shows it.
struct ModelEntry {
  std::string model;  // the id requests use
  std::string name;  // what its owner called it
  std::string family;  // family that recognised it
  std::string dtype;  // arithmetic type of its weights
  std::string state;  // cold: files only; warm: its weights rest in pinned memory, from where they are copied back; hot: ready to answer
  std::uint64_t resident_bytes = 0;  // bytes of weights and caches it holds on the device
  std::uint64_t image_bytes = 0;  // pinned memory that the image of its weights takes, whether it is warm or hot
  std::uint32_t loads = 0;  // times it was loaded since the service started
  std::uint32_t holders = 0;  // connections that hold it
  bool is_public = false;  // published by the service: every client may use it
  bool pinned = false;  // it leaves the device only when an administrator asks for it
  std::uint64_t idle_ms = 0;  // since its last request ended; 0 while it works
  std::optional<std::uint64_t> leaves_in_ms;  // until it leaves the device because nobody uses it; absent: it does not
  friend bool operator==(const ModelEntry&, const ModelEntry&) = default;
};

// One connection as status shows it.
struct ClientEntry {
  std::uint64_t connection = 0;  // id from welcome
  std::string client;  // name from hello
  std::int32_t pid = 0;  // process id of the peer
  std::uint32_t uid = 0;  // user id of the peer; quotas count by it
  bool stalled = false;  // it does not answer pings
  std::uint32_t open_requests = 0;  // requests queued or running
  std::uint32_t arenas = 0;  // arenas held, both directions
  std::uint64_t arena_bytes = 0;  // their bytes
  std::uint32_t results = 0;  // results in out arenas that it has not released
  std::uint64_t connected_ms = 0;  // since it connected
  std::uint64_t served = 0;  // its requests that ended with a reply
  std::uint64_t failed = 0;  // its requests that ended with an error
  std::uint64_t generated_tokens = 0;  // in all its replies
  friend bool operator==(const ClientEntry&, const ClientEntry&) = default;
};

// Device memory a model takes, known before it is loaded. Bytes.
struct MemoryPlan {
  std::uint64_t weights_bytes = 0;  // decoder and vision tower, in the layout they are computed from
  std::uint64_t cache_bytes = 0;  // pages of keys and values, and the vision cache when full
  std::uint64_t scratch_bytes = 0;  // activations and workspaces
  std::uint64_t image_bytes = 0;  // not of the device: pinned memory in which its weights can rest; 0: they cannot
  friend bool operator==(const MemoryPlan&, const MemoryPlan&) = default;
};

// One of several answers to a request.
struct Answer {
  std::string text;  // without stop token, stop string and thoughts
  std::string thinking;  // the model's thoughts before the text
  std::string token_ids;  // generated ids, stop token included; i32 little endian
  std::string token_us;  // as in generated
  std::string stop_reason;  // why it ended
  double score = 0.0;  // beam search: sum of the log probabilities over length ^ length_penalty
  friend bool operator==(const Answer&, const Answer&) = default;
};

// A picture or video as the model saw it.
struct SeenPicture {
  std::int64_t width = 0;  // as it was sent, pixels
  std::int64_t height = 0;  // as it was sent, pixels
  std::int64_t seen_width = 0;  // as the model saw it, pixels: what coordinates of a family that counts in pixels refer to
  std::int64_t seen_height = 0;  // as the model saw it, pixels
  std::int64_t frames = 0;  // of a video; 0: a picture
  std::uint32_t tokens = 0;  // tokens of the prompt that it takes, a video's timestamps not counted
  friend bool operator==(const SeenPicture&, const SeenPicture&) = default;
};

// One cache of a model as status shows it.
struct CacheEntry {
  std::string model;  // the model it belongs to; empty: the service
  std::string name;  // prefix: keys and values of prompts; vision: features of pictures; result: kept answers
  std::uint64_t entries = 0;  // pages, pictures, answers
  std::uint64_t bytes = 0;  // memory they take
  std::uint64_t budget_bytes = 0;  // the most they may take; the least recently used go first
  std::uint64_t hits = 0;  // prompts or pictures that found something
  std::uint64_t misses = 0;  // those that found nothing
  friend bool operator==(const CacheEntry&, const CacheEntry&) = default;
};

// One request at work or waiting, as list_jobs shows it.
struct JobEntry {
  std::uint32_t job = 0;  // id for cancel_job
  std::string kind;  // what it does
  std::string state;  // queued: for a slot, for memory or behind an equal prompt; loading: its model is
  std::uint64_t connection = 0;  // whose it is; 0: of a connection that is gone and may come back
  std::string client;  // that connection's program
  std::int32_t pid = 0;  // its process
  std::uint32_t uid = 0;  // its user
  std::string model;  // id
  std::string name;  // the model's name
  std::uint32_t place = 0;  // queued: how many are before it
  std::uint64_t waited_ms = 0;  // from its arrival until it ran, or until now
  std::uint64_t running_ms = 0;  // since it runs
  std::uint32_t tokens = 0;  // generated so far
  friend bool operator==(const JobEntry&, const JobEntry&) = default;
};

// A model that is refused because it ended the engine process.
struct QuarantineEntry {
  std::string model;  // id
  std::string name;  // as its owner called it
  std::string operation;  // under which the process ended: attach, load, generate
  std::uint32_t deaths = 0;  // how often
  std::uint64_t left_ms = 0;  // until it is tried again
  friend bool operator==(const QuarantineEntry&, const QuarantineEntry&) = default;
};

// Something that went wrong, for those who look after the service.
struct ErrorEntry {
  std::uint64_t at_ms = 0;  // Unix time in milliseconds
  std::string code;  // an error code
  std::string what;  // what happened
  std::string model;  // name of the model it was about
  std::string client;  // program of the connection it was told to
  friend bool operator==(const ErrorEntry&, const ErrorEntry&) = default;
};

// One setting of the service. docs/config.md explains all of them.
struct ConfigValue {
  std::string key;  // section and name: server.drain
  std::string value;  // as TOML
  std::string usual_value;  // without any configuration, as TOML
  std::string origin;  // default, command line, HEARTH_…, or FILE:LINE
  std::string takes_effect;  // when a change counts
  friend bool operator==(const ConfigValue&, const ConfigValue&) = default;
};

// A setting that differs between what runs and what the files say.
struct ConfigChange {
  std::string key;  // section and name
  std::string before;  // as TOML
  std::string after;  // as TOML
  std::string origin;  // of the later value
  std::string takes_effect;  // when it counts
  friend bool operator==(const ConfigChange&, const ConfigChange&) = default;
};

// Where the time of one request went. Milliseconds of wall clock, not overlapping, in this order.
struct Receipt {
  double queue_ms = 0.0;  // waiting for a free slot, for memory, or for another's equal prompt; loading not counted
  double load_ms = 0.0;  // loading the model; 0 when it was hot
  bool warm_load = false;  // load_ms is the return from pinned memory: its weights were still being copied while the prompt was computed
  double preprocess_ms = 0.0;  // tokenise, resize, patchify
  double vision_ms = 0.0;  // vision tower
  double prefill_ms = 0.0;  // prompt through the decoder
  double decode_ms = 0.0;  // all generated tokens but the first
  double first_token_ms = 0.0;  // from arrival in the broker to the first token
  double total_ms = 0.0;  // from arrival in the broker to the reply
  std::uint32_t prompt_tokens = 0;  // tokens of the prompt, pictures included
  std::uint32_t image_tokens = 0;  // of these, tokens of pictures
  std::uint32_t cached_tokens = 0;  // of prompt_tokens, those whose keys and values were cached: they cost nothing
  std::uint32_t cached_pictures = 0;  // pictures that the vision tower did not have to see
  std::uint32_t generated_tokens = 0;  // tokens generated, stop tokens included; of all answers
  std::uint32_t thinking_tokens = 0;  // of these, tokens of thoughts
  double tokens_per_second = 0.0;  // (generated_tokens - 1) / decode_ms
  double slowest_token_ms = 0.0;  // longest single decode step
  std::uint32_t stalls = 0;  // decode steps longer than three times the median
  std::uint64_t bytes_per_token = 0;  // weights, keys and values that one decode step at the answer's end reads
  double bandwidth_share = 0.0;  // bytes_per_token x tokens_per_second over the device's bandwidth_bytes_per_s; 0: unknown
  bool pinned = false;  // all its tensors lay in page-locked memory
  bool replayed = false;  // the answer of an earlier request with the same key or result_key
  std::string model;  // model id
  std::uint32_t model_loads = 0;  // times this model was loaded since the service started
  std::string device;  // device name
  std::string dtype;  // arithmetic type
  DeviceState device_state;  // the device when the request ended
  std::uint64_t request = 0;  // number of the request in the service's log, trace and list_requests
  std::vector<std::string> evicted;  // names of the models that left the device to make room for it
  friend bool operator==(const Receipt&, const Receipt&) = default;
};

// One request that ended. The service keeps the last 4096, of which a client sees its own user's.
struct RequestRecord {
  std::uint64_t request = 0;  // number, rising
  std::uint64_t at_ms = 0;  // arrival, Unix time in milliseconds
  std::string kind;  // what it was
  std::string name;  // the model's name
  std::string client;  // the connection's program
  std::uint64_t connection = 0;  // its id
  std::int32_t pid = 0;  // its process
  std::uint32_t uid = 0;  // its user
  std::string code;  // error code; empty: it was answered
  std::string what;  // what the error said
  bool is_cold = false;  // its model had to be loaded
  Receipt receipt;  // where its time went; of an error what is known
  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};

// First frame of a client, within two seconds of connecting.
struct Hello {
  static constexpr std::uint8_t kType = 1;
  std::uint32_t oldest = 0;  // oldest protocol version the client speaks
  std::uint32_t newest = 0;  // newest one
  std::string client;  // program and version, for the status
  std::string instance;  // random id of the client process
  std::vector<std::string> features;  // optional abilities of the client
  friend bool operator==(const Hello&, const Hello&) = default;
};

// Answer to hello: the connection is usable.
struct Welcome {
  static constexpr std::uint8_t kType = 2;
  std::uint32_t version = 0;  // protocol version of this connection
  std::string server;  // service and version
  std::string boot_id;  // changes with each start; ids and arenas of another boot are void
  std::uint64_t connection = 0;  // id of this connection in logs and status
  Limits limits;  // what the service allows this connection
  std::optional<Quota> quota;  // what it allows all connections of this user together
  std::uint32_t heartbeat_ms = 0;  // silence after which the service pings a client with open requests; after three times as long it gives the client up; 0: never
  std::vector<Device> devices;  // what the workers compute on
  std::vector<std::string> features;  // optional abilities of the service
  std::string schema_hash;  // of messages.toml; equal hashes mean equal contracts
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

// Ends a request that failed. With request_id 0 it ends the connection.
struct Error {
  static constexpr std::uint8_t kType = 3;
  std::string code;  // a word from the list of errors
  std::string what;  // what happened, with values
  std::string hint;  // what the user can do
  bool retryable = false;  // the same request may succeed when sent again
  std::uint32_t retry_after_ms = 0;  // wait at least so long
  friend bool operator==(const Error&, const Error&) = default;
};

// Give up the request of this request_id. Idempotent; the request still ends with its one reply or error.
struct Cancel {
  static constexpr std::uint8_t kType = 4;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

// The service is stopping: open requests may finish, new ones are refused.
struct Goaway {
  static constexpr std::uint8_t kType = 5;
  std::uint32_t drain_ms = 0;  // time left for open requests
  std::string reason;  // for the log
  friend bool operator==(const Goaway&, const Goaway&) = default;
};

// Does nothing. Answered by the broker itself.
struct Ping {
  static constexpr std::uint8_t kType = 6;
  friend bool operator==(const Ping&, const Ping&) = default;
};

// Answer to ping.
struct Pong {
  static constexpr std::uint8_t kType = 7;
  friend bool operator==(const Pong&, const Pong&) = default;
};

// Ask for shared memory.
struct ArenaAsk {
  static constexpr std::uint8_t kType = 8;
  std::string direction = "in";  // in: written and allocated by the client
  std::uint64_t nbytes = 0;  // at least so many; the grant may be larger
  friend bool operator==(const ArenaAsk&, const ArenaAsk&) = default;
};

// Carries one descriptor: a sealed memfd to map. Its first 4096 bytes are reserved.
struct ArenaGrant {
  static constexpr std::uint8_t kType = 9;
  std::uint32_t arena = 0;  // id for tensor descriptors; never used again in this boot
  std::uint64_t nbytes = 0;  // exact size of the memfd
  friend bool operator==(const ArenaGrant&, const ArenaGrant&) = default;
};

// Give an arena back. Open requests that use it keep it until they end.
struct ArenaDrop {
  static constexpr std::uint8_t kType = 10;
  std::uint32_t arena = 0;  // id from arena_grant
  friend bool operator==(const ArenaDrop&, const ArenaDrop&) = default;
};

// The id is void.
struct ArenaDropped {
  static constexpr std::uint8_t kType = 11;
  friend bool operator==(const ArenaDropped&, const ArenaDropped&) = default;
};

// Lends shared memory with results, before the first reply that names it. Carries one descriptor: a sealed memfd that can be mapped read-only or copy-on-write, nothing else.
struct OutArena {
  static constexpr std::uint8_t kType = 12;
  std::uint32_t arena = 0;  // id in the tensors of replies; never used again in this boot
  std::uint64_t nbytes = 0;  // exact size of the memfd
  friend bool operator==(const OutArena&, const OutArena&) = default;
};

// No further reply names this arena. What the client has mapped stays readable; slots of it need no release.
struct OutArenaGone {
  static constexpr std::uint8_t kType = 13;
  std::uint32_t arena = 0;  // id from out_arena
  friend bool operator==(const OutArenaGone&, const OutArenaGone&) = default;
};

// These results are no longer needed. All or nothing: a slot that is not held is an error.
struct Release {
  static constexpr std::uint8_t kType = 14;
  std::vector<Slot> slots;  // slots of replies on this connection
  friend bool operator==(const Release&, const Release&) = default;
};

// The slots are free.
struct Released {
  static constexpr std::uint8_t kType = 15;
  friend bool operator==(const Released&, const Released&) = default;
};

// Bring a model: one read-only descriptor of a regular file for each label, in the same order.
struct OfferModel {
  static constexpr std::uint8_t kType = 16;
  std::string name;  // for people: logs, status
  std::vector<std::string> labels;  // file names inside the model's folder: config.json, model.safetensors, …
  std::string dtype = "auto";  // what the weights are kept in; auto: as the checkpoint has them. float8, int8 and int4 round the decoder's linears while loading and compute in bfloat16
  std::string head = "auto";  // what the output layer is kept in when dtype rounds; auto: int8
  std::string attention = "auto";  // to find faults with: who computes attention over prompts and pictures. auto: the fastest; flash: hearth's fused kernel; sdpa: libtorch's; eager: every step on its own, in float32. All agree within rounding
  friend bool operator==(const OfferModel&, const OfferModel&) = default;
};

// The service can serve this model. It is not loaded yet.
struct ModelOffered {
  static constexpr std::uint8_t kType = 17;
  std::string model;  // id for requests; equal files and dtype give an equal id
  std::string family;  // family that recognised it
  MemoryPlan memory;  // what it will take when it is loaded
  std::vector<std::string> warnings;  // what a careful user should know
  friend bool operator==(const ModelOffered&, const ModelOffered&) = default;
};

// Make a model hot and hold it. `generate` does so by itself when needed. Idle models leave when there is no room, also held ones: their next request loads them again.
struct LoadModel {
  static constexpr std::uint8_t kType = 18;
  std::string model;  // id from model_offered, or the name of a public model
  friend bool operator==(const LoadModel&, const LoadModel&) = default;
};

// The model is hot.
struct ModelLoaded {
  static constexpr std::uint8_t kType = 19;
  std::string model;  // its id
  std::uint64_t resident_bytes = 0;  // bytes of weights and caches
  double load_ms = 0;  // time it took; 0 when it was hot
  bool warm = false;  // it was warm: load_ms is the return from pinned memory
  friend bool operator==(const ModelLoaded&, const ModelLoaded&) = default;
};

// Give up this connection's hold. The model leaves memory when nobody holds it.
struct UnloadModel {
  static constexpr std::uint8_t kType = 20;
  std::string model;  // its id
  friend bool operator==(const UnloadModel&, const UnloadModel&) = default;
};

// The hold is gone.
struct ModelUnloaded {
  static constexpr std::uint8_t kType = 21;
  bool resident = false;  // the model is still in memory, for others
  std::uint64_t image_bytes = 0;  // answer to rest_model: pinned memory in which its weights rest; 0: it was dropped
  friend bool operator==(const ModelUnloaded&, const ModelUnloaded&) = default;
};

// The models this connection may use.
struct ListModels {
  static constexpr std::uint8_t kType = 22;
  friend bool operator==(const ListModels&, const ListModels&) = default;
};

// Answer to list_models.
struct ModelList {
  static constexpr std::uint8_t kType = 23;
  std::vector<ModelEntry> models;  // public ones first
  friend bool operator==(const ModelList&, const ModelList&) = default;
};

// How the service is doing.
struct Status {
  static constexpr std::uint8_t kType = 24;
  friend bool operator==(const Status&, const Status&) = default;
};

// Answer to status.
struct StatusReport {
  static constexpr std::uint8_t kType = 25;
  std::string server;  // service and version
  std::string boot_id;  // see welcome
  std::uint64_t uptime_ms = 0;  // since the broker started
  std::string worker_state;  // of the engine process
  std::int32_t worker_pid = 0;  // 0 when there is none
  std::uint32_t worker_restarts = 0;  // times the worker was lost since the start
  std::vector<Device> devices;  // what the workers compute on
  std::uint32_t slots = 0;  // requests the worker runs at once
  std::uint32_t running = 0;  // requests running
  std::uint32_t queued = 0;  // requests waiting
  std::uint64_t served = 0;  // generate requests that ended with a reply
  std::uint64_t failed = 0;  // generate requests that ended with an error
  std::uint32_t arenas = 0;  // arenas of all clients, both directions
  std::uint64_t arena_bytes = 0;  // their bytes
  std::uint32_t results = 0;  // results in out arenas that nobody has released
  std::uint64_t result_bytes = 0;  // their bytes
  std::uint64_t rss_bytes = 0;  // resident memory of the broker
  std::uint32_t descriptors = 0;  // open file descriptors of the broker
  std::uint64_t memory_bytes = 0;  // device memory that loaded models take
  std::uint64_t memory_budget_bytes = 0;  // the most they may take together
  std::uint64_t warm_bytes = 0;  // pinned memory that images of models' weights take
  std::uint64_t warm_budget_bytes = 0;  // the most they may take together
  std::vector<CacheEntry> caches;  // of all loaded models, and of the service
  std::vector<ModelEntry> models;  // at most 512, those the asker may use first
  std::vector<ClientEntry> clients;  // at most 512, the asking one first
  std::string health = "listening";  // listening: clients are served, the engine is not there; gpu_ok: the engine can take work; loaded: a model is on the device; warm: a model has answered since it was loaded, so nothing cold is left; failed: the engine does not start again by itself
  std::vector<std::string> health_reasons;  // why it is not better
  std::string mode = "serving";  // whether requests are taken; suspended: they wait, and the device is released
  bool may_administer = false;  // the asker is an administrator
  std::uint32_t upgrades = 0;  // times the broker replaced itself while clients stayed connected
  std::string log;  // where the log goes: journal, or a file's path; empty: a terminal or a pipe
  std::vector<QuarantineEntry> quarantined;  // models that are refused
  std::vector<ErrorEntry> last_errors;  // latest first; of other users only for administrators
  DeviceState device_state;  // as of the last answer or the last second at work
  std::uint64_t generated_tokens = 0;  // by all requests
  double tokens_per_second = 0.0;  // of all requests together, over the last ten seconds
  friend bool operator==(const StatusReport&, const StatusReport&) = default;
};

// Somebody else needs the device: idle models leave it, least useful first, until so much is free. Holds stay: a model that left is loaded again by its next request.
struct FreeMemory {
  static constexpr std::uint8_t kType = 26;
  std::uint64_t nbytes = 0;  // device memory to give back; 0: all that is idle
  friend bool operator==(const FreeMemory&, const FreeMemory&) = default;
};

// What left.
struct MemoryFreed {
  static constexpr std::uint8_t kType = 27;
  std::uint64_t freed_bytes = 0;  // given back to the device
  std::uint64_t resident_bytes = 0;  // still taken by models that are at work
  std::vector<std::string> models;  // names of the models that left
  friend bool operator==(const MemoryFreed&, const MemoryFreed&) = default;
};

// What loading a model would take, and who would have to leave. Nothing is loaded and nobody leaves.
struct PlanLoad {
  static constexpr std::uint8_t kType = 28;
  std::string model;  // id from model_offered, or the name of a public model
  friend bool operator==(const PlanLoad&, const PlanLoad&) = default;
};

// Answer to plan_load.
struct LoadPlan {
  static constexpr std::uint8_t kType = 29;
  std::string model;  // its id
  bool is_hot = false;  // it is loaded already: nothing would happen
  bool is_warm = false;  // it would come back from pinned memory
  bool fits = false;  // it can be loaded now, once those in `leaving` have left
  MemoryPlan memory;  // what it would take
  std::uint64_t free_bytes = 0;  // of the budget, not taken by any model
  std::uint64_t budget_bytes = 0;  // the most that all models may take together
  std::vector<std::string> leaving;  // names of the idle models that would leave
  std::vector<std::string> at_work;  // names of the models that cannot leave now
  friend bool operator==(const LoadPlan&, const LoadPlan&) = default;
};

// Continue a chat. Followed by `token` and `progress` events, ended by `generated`.
struct Generate {
  static constexpr std::uint8_t kType = 32;
  std::string model;  // id from model_offered, or the name of a public model
  std::vector<ChatMessage> messages;  // the chat so far; the model answers as assistant
  std::int32_t max_tokens = 512;  // most tokens to generate
  double temperature = 0.7;  // 0: always the likeliest token (greedy); higher: more varied
  std::int32_t top_k = 20;  // choose among the k likeliest tokens; 0: no limit
  double top_p = 0.8;  // choose among the likeliest tokens that together reach this probability; 1: no limit
  double min_p = 0.0;  // drop tokens less likely than this fraction of the likeliest; 0: no limit
  double typical_p = 1.0;  // choose among the tokens whose surprise is nearest to what is expected here, that together reach this probability; 1: no limit
  double repetition_penalty = 1.0;  // above 1: tokens already in prompt or answer become less likely
  double presence_penalty = 0.0;  // subtracted from the logit of each token already in the answer
  double frequency_penalty = 0.0;  // subtracted from the logit of each token for every time it is already in the answer
  std::int32_t no_repeat_ngram = 0;  // no run of so many tokens comes twice in prompt and answer; 0: no limit
  std::int32_t answers = 1;  // how many answers, each with random numbers of its own; the prompt is computed once
  std::int32_t beams = 1;  // beam search over so many candidates, without chance; 1: off. At least as many as answers
  double length_penalty = 1.0;  // beam search: scores are divided by length to this power; above 0 favours long answers
  std::string thinking = "auto";  // whether the model thinks before it answers; auto: as its own template has it
  std::int32_t thinking_tokens = 0;  // most tokens of thoughts; then they are closed and the answer begins; 0: no limit
  std::string json_schema;  // the answer is JSON that matches this JSON schema; {} for any JSON; empty: free text
  std::string regex;  // the whole answer matches this regular expression; empty: free text
  std::uint64_t seed = 0;  // same seed, same words, whoever else is served
  std::vector<std::string> stop;  // end before the first of these strings; an empty string is refused
  bool model_defaults = false;  // take how words are chosen (temperature, top_k, top_p, min_p, typical_p, penalties, no_repeat_ngram) from the model's generation_config.json where it says
  std::int64_t min_pixels = 0;  // smallest picture area after resizing; 0: the model's own
  std::int64_t max_pixels = 0;  // largest picture area after resizing; 0: the model's own
  std::string priority = "interactive";  // who waits for whom when there is a queue; whoever has waited long moves up
  std::string key;  // random id of this request: sent again with the same key it does not run twice; empty: none
  std::string result_key;  // names all that the answer depends on and the service does not see, above all the pictures' content: an equal request of the same user with the same result_key is answered from the result cache; empty: not cached
  friend bool operator==(const Generate&, const Generate&) = default;
};

// New text. Pieces joined in order are the reply's text; each is whole UTF-8.
struct Token {
  static constexpr std::uint8_t kType = 33;
  std::string text;  // may be empty when the token only begins a character
  std::string token_ids;  // i32 little endian
  std::uint32_t answer = 0;  // which of the request's answers it belongs to, from 0
  bool thinking = false;  // a piece of the thoughts, not of the text
  friend bool operator==(const Token&, const Token&) = default;
};

// How far a request is. Sent at most ten times a second; may be dropped.
struct Progress {
  static constexpr std::uint8_t kType = 34;
  std::string stage;  // what happens now
  std::uint64_t done = 0;  // of total; bytes while loading, else tokens
  std::uint64_t total = 0;  // 0: unknown
  friend bool operator==(const Progress&, const Progress&) = default;
};

// The service has read the request's tensors: their memory may be used again.
struct InputsDone {
  static constexpr std::uint8_t kType = 35;
  friend bool operator==(const InputsDone&, const InputsDone&) = default;
};

// The whole answer.
struct Generated {
  static constexpr std::uint8_t kType = 36;
  std::string text;  // without stop token, stop string and thoughts
  std::string thinking;  // the model's thoughts before the text
  bool thinking_closed = false;  // the thoughts reached thinking_tokens and were closed
  std::string token_ids;  // generated ids, stop token included; i32 little endian
  std::string prompt_token_ids;  // ids of the whole prompt, picture tokens expanded; i32 little endian
  std::string token_us;  // for each generated id the microseconds since the one before, 0 for the first; i32 little endian; empty when the answer was kept
  std::string stop_reason;  // why it ended
  double score = 0.0;  // as in answer
  std::vector<Answer> others;  // the second answer and those after it; beam search: the best is first
  std::vector<SeenPicture> pictures;  // in the order of their parts
  std::string coordinates = "none";  // what numbers of boxes and points in the text count: thousandths of a picture's sides, or pixels of the picture as it was seen
  Receipt receipt;  // where the time went
  std::vector<std::string> warnings;  // what a careful user should know
  friend bool operator==(const Generated&, const Generated&) = default;
};

// Hidden states of a chat's prompt, for programs that condition on them. Followed by `progress` events, ended by `encoded`.
struct Encode {
  static constexpr std::uint8_t kType = 37;
  std::string model;  // id from model_offered, or the name of a public model
  std::vector<ChatMessage> messages;  // the chat to encode
  std::vector<std::int32_t> layers;  // which hidden states: 0 is the embeddings, i the output of layer i; -1 the last, after the final norm; -2 the one before, and so on
  std::string dtype = "model";  // element type of the result; model: the model's own
  bool generation_prompt = true;  // end the prompt with the opening of an assistant's turn
  std::int64_t min_pixels = 0;  // smallest picture area after resizing; 0: the model's own
  std::int64_t max_pixels = 0;  // largest picture area after resizing; 0: the model's own
  std::string priority = "interactive";  // as in generate
  std::string key;  // as in generate
  friend bool operator==(const Encode&, const Encode&) = default;
};

// The hidden states, in out arenas: one tensor [tokens, hidden] for each layer asked for, in that order. Whoever has read them sends `release`.
struct Encoded {
  static constexpr std::uint8_t kType = 38;
  std::vector<Tensor> tensors;  // [tokens, hidden] each
  std::string prompt_token_ids;  // ids of the prompt, picture tokens expanded; i32 little endian
  Receipt receipt;  // where the time went
  std::vector<std::string> warnings;  // what a careful user should know
  friend bool operator==(const Encoded&, const Encoded&) = default;
};

// What a chat would take, without running it. The model need not be loaded; pixels are not read.
struct CountTokens {
  static constexpr std::uint8_t kType = 39;
  std::string model;  // id from model_offered, or the name of a public model
  std::vector<ChatMessage> messages;  // as in generate; of tensors only the shape counts
  std::string thinking = "auto";  // as in generate
  std::int64_t min_pixels = 0;  // as in generate
  std::int64_t max_pixels = 0;  // as in generate
  friend bool operator==(const CountTokens&, const CountTokens&) = default;
};

// Answer to count_tokens.
struct TokensCounted {
  static constexpr std::uint8_t kType = 40;
  std::uint32_t prompt_tokens = 0;  // of the whole prompt
  std::uint32_t image_tokens = 0;  // of these, of pictures and videos
  std::uint32_t context_tokens = 0;  // what prompt and answer may have together
  std::vector<SeenPicture> pictures;  // in the order of their parts
  friend bool operator==(const TokensCounted&, const TokensCounted&) = default;
};

// What was asked for has happened.
struct Done {
  static constexpr std::uint8_t kType = 41;
  std::string text;  // what there is to say about it
  friend bool operator==(const Done&, const Done&) = default;
};

// What is at work and what waits. Administrators see all jobs, others those of their user.
struct ListJobs {
  static constexpr std::uint8_t kType = 42;
  friend bool operator==(const ListJobs&, const ListJobs&) = default;
};

// Answer to list_jobs.
struct JobList {
  static constexpr std::uint8_t kType = 43;
  std::vector<JobEntry> jobs;  // running first, then in the order in which they will be served; at most 1024
  friend bool operator==(const JobList&, const JobList&) = default;
};

// End a request as its own client can, from outside: of one's own user; administrators anybody's. Answered by done.
struct CancelJob {
  static constexpr std::uint8_t kType = 44;
  std::uint32_t job = 0;  // from list_jobs
  friend bool operator==(const CancelJob&, const CancelJob&) = default;
};

// Administrators: close a connection; all that it holds is taken back. Answered by done.
struct KickClient {
  static constexpr std::uint8_t kType = 45;
  std::uint64_t connection = 0;  // from status
  friend bool operator==(const KickClient&, const KickClient&) = default;
};

// Administrators: the model does not leave the device to make room or for being idle. Answered by done.
struct PinModel {
  static constexpr std::uint8_t kType = 46;
  std::string model;  // id or name from list_models
  bool pin = true;  // false: it may leave again
  friend bool operator==(const PinModel&, const PinModel&) = default;
};

// A model leaves the device. Who holds it may ask; administrators for any, pinned ones too. busy: it is at work. Answered by memory_freed.
struct EvictModel {
  static constexpr std::uint8_t kType = 47;
  std::string model;  // id or name from list_models
  std::string to = "cold";  // warm: its weights rest in pinned memory if there is room; cold: all of it goes
  friend bool operator==(const EvictModel&, const EvictModel&) = default;
};

// Administrators: take no new requests, let the open ones end. Clients are told and their retries wait. Answered by done when none is open; those still open when the time is over end with shutting_down.
struct Drain {
  static constexpr std::uint8_t kType = 48;
  std::uint32_t timeout_ms = 45000;  // how long open requests may take
  std::string then = "stay";  // stay: until resume; stop: the service ends
  friend bool operator==(const Drain&, const Drain&) = default;
};

// Administrators: the machine will sleep. Requests at work end, new ones wait; models leave the device and are cold afterwards; the engine process ends. Answered by done.
struct Suspend {
  static constexpr std::uint8_t kType = 49;
  std::uint32_t timeout_ms = 10000;  // after which requests at work are put back to the queue if nothing of them was sent yet, else end with worker_lost
  friend bool operator==(const Suspend&, const Suspend&) = default;
};

// Administrators: take requests again after drain or suspend. Answered by done.
struct Resume {
  static constexpr std::uint8_t kType = 50;
  friend bool operator==(const Resume&, const Resume&) = default;
};

// Administrators: give models that ended the engine another chance. Answered by done.
struct ClearQuarantine {
  static constexpr std::uint8_t kType = 51;
  std::string model;  // id or name; empty: all of them
  friend bool operator==(const ClearQuarantine&, const ClearQuarantine&) = default;
};

// The settings that count.
struct ShowConfig {
  static constexpr std::uint8_t kType = 52;
  friend bool operator==(const ShowConfig&, const ShowConfig&) = default;
};

// Answer to show_config.
struct ConfigList {
  static constexpr std::uint8_t kType = 53;
  std::vector<ConfigValue> values;  // all settings, in the order of docs/config.md
  std::vector<std::string> files;  // that were read, later ones win
  friend bool operator==(const ConfigList&, const ConfigList&) = default;
};

// Administrators: read the configuration files again. All of it counts or, if anything is wrong, nothing.
struct ReloadConfig {
  static constexpr std::uint8_t kType = 54;
  bool apply = true;  // false: only say what would change
  friend bool operator==(const ReloadConfig&, const ReloadConfig&) = default;
};

// Answer to reload_config.
struct ConfigReport {
  static constexpr std::uint8_t kType = 55;
  bool applied = false;  // the settings that take effect live count from here on
  std::vector<ConfigChange> changes;  // what differs from what runs
  std::vector<std::string> problems;  // FILE:LINE: what is wrong; with any, nothing was applied
  friend bool operator==(const ConfigReport&, const ConfigReport&) = default;
};

// Requests that ended. Administrators see all, others those of their user.
struct ListRequests {
  static constexpr std::uint8_t kType = 56;
  std::uint64_t before = 0;  // only those with a smaller number; 0: from the latest
  std::uint32_t limit = 256;  // at most so many
  friend bool operator==(const ListRequests&, const ListRequests&) = default;
};

// Answer to list_requests.
struct RequestList {
  static constexpr std::uint8_t kType = 57;
  std::vector<RequestRecord> requests;  // latest first
  bool more = false;  // there are older ones
  friend bool operator==(const RequestList&, const RequestList&) = default;
};

// The service's metrics. docs/metrics.md lists them.
struct Metrics {
  static constexpr std::uint8_t kType = 58;
  friend bool operator==(const Metrics&, const Metrics&) = default;
};

// Answer to metrics.
struct MetricsText {
  static constexpr std::uint8_t kType = 59;
  std::string text;  // Prometheus text exposition format 0.0.4
  friend bool operator==(const MetricsText&, const MetricsText&) = default;
};

// Administrators: the broker replaces itself by the program that is installed at its path, and nobody is disconnected. Answered by done, by the new process; by an error when the new program does not pass its own check, and then nothing has changed.
struct Upgrade {
  static constexpr std::uint8_t kType = 60;
  friend bool operator==(const Upgrade&, const Upgrade&) = default;
};

// First frame of a worker: it can take work. Sent once more, with the bandwidth, when that was measured; nothing else may differ then.
struct WorkerReady {
  static constexpr std::uint8_t kType = 64;
  Device device;  // what it computes on
  std::uint32_t slots = 0;  // free sequence slots: the broker dispatches at most so many generate requests
  std::vector<std::string> families;  // families built in
  std::vector<std::string> remarks;  // for the log: no GPU found, computing on the CPU
  friend bool operator==(const WorkerReady&, const WorkerReady&) = default;
};

// Carries the arena's descriptor, which the worker maps read-only.
struct AttachArena {
  static constexpr std::uint8_t kType = 65;
  std::uint32_t arena = 0;  // id in tensor descriptors
  std::uint64_t nbytes = 0;  // exact size
  friend bool operator==(const AttachArena&, const AttachArena&) = default;
};

// No new request will name this arena. The worker unmaps it when the last running one ends.
struct DetachArena {
  static constexpr std::uint8_t kType = 66;
  std::uint32_t arena = 0;  // id
  friend bool operator==(const DetachArena&, const DetachArena&) = default;
};

// Carries the model's descriptors. Answered by model_offered or error.
struct AttachModel {
  static constexpr std::uint8_t kType = 67;
  std::string model;  // id the broker gave
  std::string name;  // for the log
  std::vector<std::string> labels;  // as in offer_model
  std::string dtype = "auto";  // as in offer_model
  std::string head = "auto";  // as in offer_model
  std::string attention = "auto";  // as in offer_model
  friend bool operator==(const AttachModel&, const AttachModel&) = default;
};

// Close the model's files and forget it. Sent only after it was unloaded.
struct DetachModel {
  static constexpr std::uint8_t kType = 68;
  std::string model;  // id
  friend bool operator==(const DetachModel&, const DetachModel&) = default;
};

// End now; answer nothing more.
struct StopWorker {
  static constexpr std::uint8_t kType = 69;
  friend bool operator==(const StopWorker&, const StopWorker&) = default;
};

// Says whose the job of this request id is. Precedes every job.
struct AssignJob {
  static constexpr std::uint8_t kType = 70;
  std::uint32_t user = 0;  // user id of the client: caches are kept apart by it
  std::uint64_t client = 0;  // connection whose out arenas the results go to
  std::uint64_t out_bytes = 0;  // bytes of out arenas that may still be created for it
  friend bool operator==(const AssignJob&, const AssignJob&) = default;
};

// From the worker: a new out arena for a client. Precedes the first reply that names it.
struct LendArena {
  static constexpr std::uint8_t kType = 71;
  std::uint64_t client = 0;  // as in assign_job
  std::uint32_t arena = 0;  // the worker's own id, in the tensors of its replies; the broker translates
  std::uint64_t nbytes = 0;  // exact size
  friend bool operator==(const LendArena&, const LendArena&) = default;
};

// From the worker: this out arena was empty for a while and is gone.
struct TakeBackArena {
  static constexpr std::uint8_t kType = 72;
  std::uint32_t arena = 0;  // the worker's own id
  friend bool operator==(const TakeBackArena&, const TakeBackArena&) = default;
};

// The client no longer needs these results.
struct ReleaseSlots {
  static constexpr std::uint8_t kType = 73;
  std::uint32_t arena = 0;  // the worker's own id
  std::vector<std::uint64_t> offsets;  // where the slots begin
  friend bool operator==(const ReleaseSlots&, const ReleaseSlots&) = default;
};

// The client is gone: its out arenas and everything in them are free. Jobs of it have been cancelled.
struct ForgetClient {
  static constexpr std::uint8_t kType = 74;
  std::uint64_t client = 0;  // as in assign_job
  friend bool operator==(const ForgetClient&, const ForgetClient&) = default;
};

// From the worker: the job of this request id holds no sequence slot any more; its result may still wait for room in shared memory.
struct Computed {
  static constexpr std::uint8_t kType = 75;
  friend bool operator==(const Computed&, const Computed&) = default;
};

// From the worker: its caches as they are now. Sent when a job has ended, at most once a second.
struct CacheReport {
  static constexpr std::uint8_t kType = 76;
  std::vector<CacheEntry> caches;  // of all loaded models
  friend bool operator==(const CacheReport&, const CacheReport&) = default;
};

// The model leaves the device and its weights stay in pinned memory: load_model copies them back. Answered by model_unloaded once nothing is left on the device; when there is no pinned memory, the model is dropped.
struct RestModel {
  static constexpr std::uint8_t kType = 77;
  std::string model;  // id
  friend bool operator==(const RestModel&, const RestModel&) = default;
};

// Give the pinned memory of this model's weights back. A model that rests is dropped with it; a hot one stays hot.
struct ForgetImage {
  static constexpr std::uint8_t kType = 78;
  std::string model;  // id
  friend bool operator==(const ForgetImage&, const ForgetImage&) = default;
};

// Precedes load_model of a model whose weights are rounded: the file that keeps them on disk, beyond this process.
struct WeightsCache {
  static constexpr std::uint8_t kType = 79;
  std::string model;  // id
  bool writes = false;  // true: the file is empty and to be written; false: it holds them
  std::uint64_t most_bytes = 0;  // of a file that is written
  std::uint64_t keep_free = 0;  // bytes of the disk that it has to leave free
  friend bool operator==(const WeightsCache&, const WeightsCache&) = default;
};

// From the worker: what became of the file of weights_cache. Follows load_model's answer.
struct WeightsCached {
  static constexpr std::uint8_t kType = 80;
  std::string model;  // id
  std::string outcome;  // failed: it could not be written; damaged: what it held was not what was written, or of other weights, and the model's own files were read
  std::uint64_t nbytes = 0;  // size of the file, or what it would have been if too_large, disk_full or failed
  friend bool operator==(const WeightsCached&, const WeightsCached&) = default;
};

// From the worker, once a second and when the phase changes: what its engine is doing. The broker ends a process whose phase takes longer than it may.
struct Beat {
  static constexpr std::uint8_t kType = 81;
  std::string phase;  // what the engine's thread is in
  std::string model;  // id of the model it is about
  std::uint64_t steps = 0;  // rises with every token, layer, picture or tensor done: a phase that moves is not stuck
  std::uint64_t since_ms = 0;  // since steps last rose
  DeviceState device_state;  // now; while idle without numbers
  friend bool operator==(const Beat&, const Beat&) = default;
};

// From the worker, before it ends itself: what made it useless.
struct LastWords {
  static constexpr std::uint8_t kType = 82;
  std::string cause;  // sticky: the CUDA context is broken for good; device_lost: the device has left the bus or needs a reset
  std::string what;  // the failing call and the driver's words
  friend bool operator==(const LastWords&, const LastWords&) = default;
};

// The message's body: one msgpack map, keys in the order above, absent optionals left out. Trusts
// its caller: limits are checked by who reads.
template <class Message>
std::string pack(const Message& message);

// Checks everything the contract says of the message. Errors: bad_request, naming the field.
template <class Message>
Result<Message> unpack(std::span<const std::byte> body);

}  // namespace hearth::contract
