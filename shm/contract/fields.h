// The fields of every message with their rules, for code that walks over messages.
// Generated from shm/contract/messages.toml by generate.py; edit that file instead.
// clang-format off
#pragma once

#include "shm/contract/messages.h"
#include "shm/contract/rule.h"

namespace hearth::contract {

template <>
struct Fields<Tensor> {
  static constexpr std::string_view kName = "tensor";
  static constexpr bool kOpen = false;
  static constexpr std::string_view dtype_choices[] = {"u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "bool", "f8e4m3", "f8e5m2"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "offset", .required = true}, m.offset);
    visit(Rule{.name = "nbytes", .required = true}, m.nbytes);
    visit(Rule{.name = "dtype", .required = true, .choices = dtype_choices}, m.dtype);
    visit(Rule{.name = "shape", .required = true, .min_integer = 0, .max_integer = 2147483647u, .max_items = 8}, m.shape);
    visit(Rule{.name = "layout", .required = false, .max_bytes = 16}, m.layout);
    visit(Rule{.name = "range", .required = false, .max_bytes = 16}, m.range);
  }
};

template <>
struct Fields<ContentPart> {
  static constexpr std::string_view kName = "content_part";
  static constexpr bool kOpen = false;
  static constexpr std::string_view kind_choices[] = {"text", "image", "video"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "kind", .required = true, .choices = kind_choices}, m.kind);
    visit(Rule{.name = "text", .required = false, .max_bytes = 262144}, m.text);
    visit(Rule{.name = "tensor", .required = false}, m.tensor);
    visit(Rule{.name = "fps", .required = false, .min_real = 0.0, .max_real = 1000.0}, m.fps);
    visit(Rule{.name = "frame_indices", .required = false, .min_integer = 0, .max_integer = 2147483647u, .max_items = 4096}, m.frame_indices);
    visit(Rule{.name = "min_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.min_pixels);
    visit(Rule{.name = "max_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.max_pixels);
  }
};

template <>
struct Fields<ChatMessage> {
  static constexpr std::string_view kName = "chat_message";
  static constexpr bool kOpen = false;
  static constexpr std::string_view role_choices[] = {"system", "user", "assistant"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "role", .required = true, .choices = role_choices}, m.role);
    visit(Rule{.name = "content", .required = true, .max_items = 1024}, m.content);
  }
};

template <>
struct Fields<Limits> {
  static constexpr std::string_view kName = "limits";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "frame_bytes", .required = true}, m.frame_bytes);
    visit(Rule{.name = "open_requests", .required = true}, m.open_requests);
    visit(Rule{.name = "arenas", .required = true}, m.arenas);
    visit(Rule{.name = "arena_bytes", .required = true}, m.arena_bytes);
    visit(Rule{.name = "tensors", .required = true}, m.tensors);
  }
};

template <>
struct Fields<Quota> {
  static constexpr std::string_view kName = "quota";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "connections", .required = true}, m.connections);
    visit(Rule{.name = "open_requests", .required = true}, m.open_requests);
    visit(Rule{.name = "arenas", .required = true}, m.arenas);
    visit(Rule{.name = "arena_bytes", .required = true}, m.arena_bytes);
    visit(Rule{.name = "tensors", .required = true}, m.tensors);
  }
};

template <>
struct Fields<Slot> {
  static constexpr std::string_view kName = "slot";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "offset", .required = true}, m.offset);
  }
};

template <>
struct Fields<Device> {
  static constexpr std::string_view kName = "device";
  static constexpr bool kOpen = false;
  static constexpr std::string_view kind_choices[] = {"cpu", "cuda", "none"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "kind", .required = true, .choices = kind_choices}, m.kind);
    visit(Rule{.name = "name", .required = false, .max_bytes = 256}, m.name);
    visit(Rule{.name = "memory_bytes", .required = false}, m.memory_bytes);
    visit(Rule{.name = "threads", .required = false}, m.threads);
    visit(Rule{.name = "compute_capability", .required = false, .max_bytes = 16}, m.compute_capability);
    visit(Rule{.name = "built_for", .required = false, .max_items = 32}, m.built_for);
    visit(Rule{.name = "bandwidth_bytes_per_s", .required = false}, m.bandwidth_bytes_per_s);
  }
};

template <>
struct Fields<DeviceState> {
  static constexpr std::string_view kName = "device_state";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "source", .required = false, .max_bytes = 256}, m.source);
    visit(Rule{.name = "clock_mhz", .required = false}, m.clock_mhz);
    visit(Rule{.name = "memory_clock_mhz", .required = false}, m.memory_clock_mhz);
    visit(Rule{.name = "power_w", .required = false}, m.power_w);
    visit(Rule{.name = "power_limit_w", .required = false}, m.power_limit_w);
    visit(Rule{.name = "temperature_c", .required = false}, m.temperature_c);
    visit(Rule{.name = "throttled_by", .required = false, .max_items = 16}, m.throttled_by);
    visit(Rule{.name = "memory_used_bytes", .required = false}, m.memory_used_bytes);
    visit(Rule{.name = "memory_total_bytes", .required = false}, m.memory_total_bytes);
    visit(Rule{.name = "held_bytes", .required = false}, m.held_bytes);
    visit(Rule{.name = "torch_used_bytes", .required = false}, m.torch_used_bytes);
    visit(Rule{.name = "torch_kept_bytes", .required = false}, m.torch_kept_bytes);
  }
};

template <>
struct Fields<ModelEntry> {
  static constexpr std::string_view kName = "model_entry";
  static constexpr bool kOpen = false;
  static constexpr std::string_view state_choices[] = {"cold", "warm", "loading", "hot"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "name", .required = true, .max_bytes = 256}, m.name);
    visit(Rule{.name = "family", .required = false, .max_bytes = 64}, m.family);
    visit(Rule{.name = "dtype", .required = false, .max_bytes = 16}, m.dtype);
    visit(Rule{.name = "state", .required = true, .choices = state_choices}, m.state);
    visit(Rule{.name = "resident_bytes", .required = false}, m.resident_bytes);
    visit(Rule{.name = "image_bytes", .required = false}, m.image_bytes);
    visit(Rule{.name = "loads", .required = false}, m.loads);
    visit(Rule{.name = "holders", .required = false}, m.holders);
    visit(Rule{.name = "is_public", .required = false}, m.is_public);
    visit(Rule{.name = "pinned", .required = false}, m.pinned);
    visit(Rule{.name = "idle_ms", .required = false}, m.idle_ms);
    visit(Rule{.name = "leaves_in_ms", .required = false}, m.leaves_in_ms);
  }
};

template <>
struct Fields<ClientEntry> {
  static constexpr std::string_view kName = "client_entry";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "connection", .required = true}, m.connection);
    visit(Rule{.name = "client", .required = false, .max_bytes = 128}, m.client);
    visit(Rule{.name = "pid", .required = false}, m.pid);
    visit(Rule{.name = "uid", .required = false}, m.uid);
    visit(Rule{.name = "stalled", .required = false}, m.stalled);
    visit(Rule{.name = "open_requests", .required = false}, m.open_requests);
    visit(Rule{.name = "arenas", .required = false}, m.arenas);
    visit(Rule{.name = "arena_bytes", .required = false}, m.arena_bytes);
    visit(Rule{.name = "results", .required = false}, m.results);
    visit(Rule{.name = "connected_ms", .required = false}, m.connected_ms);
    visit(Rule{.name = "served", .required = false}, m.served);
    visit(Rule{.name = "failed", .required = false}, m.failed);
    visit(Rule{.name = "generated_tokens", .required = false}, m.generated_tokens);
  }
};

template <>
struct Fields<MemoryPlan> {
  static constexpr std::string_view kName = "memory_plan";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "weights_bytes", .required = false}, m.weights_bytes);
    visit(Rule{.name = "cache_bytes", .required = false}, m.cache_bytes);
    visit(Rule{.name = "scratch_bytes", .required = false}, m.scratch_bytes);
    visit(Rule{.name = "image_bytes", .required = false}, m.image_bytes);
  }
};

template <>
struct Fields<Answer> {
  static constexpr std::string_view kName = "answer";
  static constexpr bool kOpen = false;
  static constexpr std::string_view stop_reason_choices[] = {"end_token", "stop_string", "max_tokens"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "text", .required = true, .max_bytes = 262144}, m.text);
    visit(Rule{.name = "thinking", .required = false, .max_bytes = 262144}, m.thinking);
    visit(Rule{.name = "token_ids", .required = true, .is_bin = true, .max_bytes = 524288}, m.token_ids);
    visit(Rule{.name = "token_us", .required = true, .is_bin = true, .max_bytes = 131072}, m.token_us);
    visit(Rule{.name = "stop_reason", .required = true, .choices = stop_reason_choices}, m.stop_reason);
    visit(Rule{.name = "score", .required = false}, m.score);
  }
};

template <>
struct Fields<SeenPicture> {
  static constexpr std::string_view kName = "seen_picture";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "width", .required = true}, m.width);
    visit(Rule{.name = "height", .required = true}, m.height);
    visit(Rule{.name = "seen_width", .required = true}, m.seen_width);
    visit(Rule{.name = "seen_height", .required = true}, m.seen_height);
    visit(Rule{.name = "frames", .required = false}, m.frames);
    visit(Rule{.name = "tokens", .required = true}, m.tokens);
  }
};

template <>
struct Fields<CacheEntry> {
  static constexpr std::string_view kName = "cache_entry";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = false, .max_bytes = 64}, m.model);
    visit(Rule{.name = "name", .required = true, .max_bytes = 32}, m.name);
    visit(Rule{.name = "entries", .required = false}, m.entries);
    visit(Rule{.name = "bytes", .required = false}, m.bytes);
    visit(Rule{.name = "budget_bytes", .required = false}, m.budget_bytes);
    visit(Rule{.name = "hits", .required = false}, m.hits);
    visit(Rule{.name = "misses", .required = false}, m.misses);
  }
};

template <>
struct Fields<JobEntry> {
  static constexpr std::string_view kName = "job_entry";
  static constexpr bool kOpen = false;
  static constexpr std::string_view kind_choices[] = {"generate", "encode", "count_tokens", "load"};
  static constexpr std::string_view state_choices[] = {"queued", "loading", "running"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "job", .required = true}, m.job);
    visit(Rule{.name = "kind", .required = true, .choices = kind_choices}, m.kind);
    visit(Rule{.name = "state", .required = true, .choices = state_choices}, m.state);
    visit(Rule{.name = "connection", .required = false}, m.connection);
    visit(Rule{.name = "client", .required = false, .max_bytes = 128}, m.client);
    visit(Rule{.name = "pid", .required = false}, m.pid);
    visit(Rule{.name = "uid", .required = false}, m.uid);
    visit(Rule{.name = "model", .required = false, .max_bytes = 64}, m.model);
    visit(Rule{.name = "name", .required = false, .max_bytes = 256}, m.name);
    visit(Rule{.name = "place", .required = false}, m.place);
    visit(Rule{.name = "waited_ms", .required = false}, m.waited_ms);
    visit(Rule{.name = "running_ms", .required = false}, m.running_ms);
    visit(Rule{.name = "tokens", .required = false}, m.tokens);
  }
};

template <>
struct Fields<QuarantineEntry> {
  static constexpr std::string_view kName = "quarantine_entry";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "name", .required = false, .max_bytes = 256}, m.name);
    visit(Rule{.name = "operation", .required = true, .max_bytes = 32}, m.operation);
    visit(Rule{.name = "deaths", .required = true}, m.deaths);
    visit(Rule{.name = "left_ms", .required = true}, m.left_ms);
  }
};

template <>
struct Fields<ErrorEntry> {
  static constexpr std::string_view kName = "error_entry";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "at_ms", .required = true}, m.at_ms);
    visit(Rule{.name = "code", .required = true, .max_bytes = 32}, m.code);
    visit(Rule{.name = "what", .required = true, .max_bytes = 1024}, m.what);
    visit(Rule{.name = "model", .required = false, .max_bytes = 256}, m.model);
    visit(Rule{.name = "client", .required = false, .max_bytes = 128}, m.client);
  }
};

template <>
struct Fields<ConfigValue> {
  static constexpr std::string_view kName = "config_value";
  static constexpr bool kOpen = false;
  static constexpr std::string_view takes_effect_choices[] = {"live", "next_load", "restart"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "key", .required = true, .max_bytes = 128}, m.key);
    visit(Rule{.name = "value", .required = true, .max_bytes = 4096}, m.value);
    visit(Rule{.name = "usual_value", .required = false, .max_bytes = 4096}, m.usual_value);
    visit(Rule{.name = "origin", .required = false, .max_bytes = 4096}, m.origin);
    visit(Rule{.name = "takes_effect", .required = true, .choices = takes_effect_choices}, m.takes_effect);
  }
};

template <>
struct Fields<ConfigChange> {
  static constexpr std::string_view kName = "config_change";
  static constexpr bool kOpen = false;
  static constexpr std::string_view takes_effect_choices[] = {"live", "next_load", "restart"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "key", .required = true, .max_bytes = 128}, m.key);
    visit(Rule{.name = "before", .required = true, .max_bytes = 4096}, m.before);
    visit(Rule{.name = "after", .required = true, .max_bytes = 4096}, m.after);
    visit(Rule{.name = "origin", .required = false, .max_bytes = 4096}, m.origin);
    visit(Rule{.name = "takes_effect", .required = true, .choices = takes_effect_choices}, m.takes_effect);
  }
};

template <>
struct Fields<Receipt> {
  static constexpr std::string_view kName = "receipt";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "queue_ms", .required = false}, m.queue_ms);
    visit(Rule{.name = "load_ms", .required = false}, m.load_ms);
    visit(Rule{.name = "warm_load", .required = false}, m.warm_load);
    visit(Rule{.name = "preprocess_ms", .required = false}, m.preprocess_ms);
    visit(Rule{.name = "vision_ms", .required = false}, m.vision_ms);
    visit(Rule{.name = "prefill_ms", .required = false}, m.prefill_ms);
    visit(Rule{.name = "decode_ms", .required = false}, m.decode_ms);
    visit(Rule{.name = "first_token_ms", .required = false}, m.first_token_ms);
    visit(Rule{.name = "total_ms", .required = false}, m.total_ms);
    visit(Rule{.name = "prompt_tokens", .required = false}, m.prompt_tokens);
    visit(Rule{.name = "image_tokens", .required = false}, m.image_tokens);
    visit(Rule{.name = "cached_tokens", .required = false}, m.cached_tokens);
    visit(Rule{.name = "cached_pictures", .required = false}, m.cached_pictures);
    visit(Rule{.name = "generated_tokens", .required = false}, m.generated_tokens);
    visit(Rule{.name = "thinking_tokens", .required = false}, m.thinking_tokens);
    visit(Rule{.name = "tokens_per_second", .required = false}, m.tokens_per_second);
    visit(Rule{.name = "slowest_token_ms", .required = false}, m.slowest_token_ms);
    visit(Rule{.name = "stalls", .required = false}, m.stalls);
    visit(Rule{.name = "bytes_per_token", .required = false}, m.bytes_per_token);
    visit(Rule{.name = "bandwidth_share", .required = false}, m.bandwidth_share);
    visit(Rule{.name = "pinned", .required = false}, m.pinned);
    visit(Rule{.name = "replayed", .required = false}, m.replayed);
    visit(Rule{.name = "model", .required = false, .max_bytes = 64}, m.model);
    visit(Rule{.name = "model_loads", .required = false}, m.model_loads);
    visit(Rule{.name = "device", .required = false, .max_bytes = 256}, m.device);
    visit(Rule{.name = "dtype", .required = false, .max_bytes = 16}, m.dtype);
    visit(Rule{.name = "device_state", .required = false}, m.device_state);
    visit(Rule{.name = "request", .required = false}, m.request);
    visit(Rule{.name = "evicted", .required = false, .max_items = 64}, m.evicted);
  }
};

template <>
struct Fields<RequestRecord> {
  static constexpr std::string_view kName = "request_record";
  static constexpr bool kOpen = false;
  static constexpr std::string_view kind_choices[] = {"generate", "encode", "load"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "request", .required = true}, m.request);
    visit(Rule{.name = "at_ms", .required = true}, m.at_ms);
    visit(Rule{.name = "kind", .required = true, .choices = kind_choices}, m.kind);
    visit(Rule{.name = "name", .required = false, .max_bytes = 256}, m.name);
    visit(Rule{.name = "client", .required = false, .max_bytes = 128}, m.client);
    visit(Rule{.name = "connection", .required = false}, m.connection);
    visit(Rule{.name = "pid", .required = false}, m.pid);
    visit(Rule{.name = "uid", .required = false}, m.uid);
    visit(Rule{.name = "code", .required = false, .max_bytes = 32}, m.code);
    visit(Rule{.name = "what", .required = false, .max_bytes = 1024}, m.what);
    visit(Rule{.name = "is_cold", .required = false}, m.is_cold);
    visit(Rule{.name = "receipt", .required = false}, m.receipt);
  }
};

template <>
struct Fields<Hello> {
  static constexpr std::string_view kName = "hello";
  static constexpr bool kOpen = true;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "oldest", .required = true}, m.oldest);
    visit(Rule{.name = "newest", .required = true}, m.newest);
    visit(Rule{.name = "client", .required = false, .max_bytes = 128}, m.client);
    visit(Rule{.name = "instance", .required = false, .max_bytes = 64}, m.instance);
    visit(Rule{.name = "features", .required = false, .max_items = 64}, m.features);
  }
};

template <>
struct Fields<Welcome> {
  static constexpr std::string_view kName = "welcome";
  static constexpr bool kOpen = true;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "version", .required = true}, m.version);
    visit(Rule{.name = "server", .required = true, .max_bytes = 128}, m.server);
    visit(Rule{.name = "boot_id", .required = true, .max_bytes = 64}, m.boot_id);
    visit(Rule{.name = "connection", .required = true}, m.connection);
    visit(Rule{.name = "limits", .required = true}, m.limits);
    visit(Rule{.name = "quota", .required = false}, m.quota);
    visit(Rule{.name = "heartbeat_ms", .required = false}, m.heartbeat_ms);
    visit(Rule{.name = "devices", .required = false, .max_items = 64}, m.devices);
    visit(Rule{.name = "features", .required = false, .max_items = 64}, m.features);
    visit(Rule{.name = "schema_hash", .required = true, .max_bytes = 64}, m.schema_hash);
  }
};

template <>
struct Fields<Error> {
  static constexpr std::string_view kName = "error";
  static constexpr bool kOpen = true;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "code", .required = true, .max_bytes = 32}, m.code);
    visit(Rule{.name = "what", .required = true, .max_bytes = 4096}, m.what);
    visit(Rule{.name = "hint", .required = false, .max_bytes = 1024}, m.hint);
    visit(Rule{.name = "retryable", .required = false}, m.retryable);
    visit(Rule{.name = "retry_after_ms", .required = false}, m.retry_after_ms);
  }
};

template <>
struct Fields<Cancel> {
  static constexpr std::string_view kName = "cancel";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<Goaway> {
  static constexpr std::string_view kName = "goaway";
  static constexpr bool kOpen = true;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "drain_ms", .required = false}, m.drain_ms);
    visit(Rule{.name = "reason", .required = false, .max_bytes = 256}, m.reason);
  }
};

template <>
struct Fields<Ping> {
  static constexpr std::string_view kName = "ping";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<Pong> {
  static constexpr std::string_view kName = "pong";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<ArenaAsk> {
  static constexpr std::string_view kName = "arena_ask";
  static constexpr bool kOpen = false;
  static constexpr std::string_view direction_choices[] = {"in"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "direction", .required = false, .choices = direction_choices}, m.direction);
    visit(Rule{.name = "nbytes", .required = true, .min_integer = 4097, .max_integer = 17179869184u}, m.nbytes);
  }
};

template <>
struct Fields<ArenaGrant> {
  static constexpr std::string_view kName = "arena_grant";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "nbytes", .required = true}, m.nbytes);
  }
};

template <>
struct Fields<ArenaDrop> {
  static constexpr std::string_view kName = "arena_drop";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
  }
};

template <>
struct Fields<ArenaDropped> {
  static constexpr std::string_view kName = "arena_dropped";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<OutArena> {
  static constexpr std::string_view kName = "out_arena";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "nbytes", .required = true}, m.nbytes);
  }
};

template <>
struct Fields<OutArenaGone> {
  static constexpr std::string_view kName = "out_arena_gone";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
  }
};

template <>
struct Fields<Release> {
  static constexpr std::string_view kName = "release";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "slots", .required = true, .max_items = 4096}, m.slots);
  }
};

template <>
struct Fields<Released> {
  static constexpr std::string_view kName = "released";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<OfferModel> {
  static constexpr std::string_view kName = "offer_model";
  static constexpr bool kOpen = false;
  static constexpr std::string_view dtype_choices[] = {"auto", "float32", "bfloat16", "float8", "int8", "int4"};
  static constexpr std::string_view head_choices[] = {"auto", "bfloat16"};
  static constexpr std::string_view attention_choices[] = {"auto", "flash", "sdpa", "eager"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "name", .required = true, .max_bytes = 256}, m.name);
    visit(Rule{.name = "labels", .required = true, .max_items = 240, .max_bytes = 255}, m.labels);
    visit(Rule{.name = "dtype", .required = false, .choices = dtype_choices}, m.dtype);
    visit(Rule{.name = "head", .required = false, .choices = head_choices}, m.head);
    visit(Rule{.name = "attention", .required = false, .choices = attention_choices}, m.attention);
  }
};

template <>
struct Fields<ModelOffered> {
  static constexpr std::string_view kName = "model_offered";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "family", .required = true, .max_bytes = 64}, m.family);
    visit(Rule{.name = "memory", .required = false}, m.memory);
    visit(Rule{.name = "warnings", .required = false, .max_items = 64}, m.warnings);
  }
};

template <>
struct Fields<LoadModel> {
  static constexpr std::string_view kName = "load_model";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<ModelLoaded> {
  static constexpr std::string_view kName = "model_loaded";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "resident_bytes", .required = true}, m.resident_bytes);
    visit(Rule{.name = "load_ms", .required = true}, m.load_ms);
    visit(Rule{.name = "warm", .required = false}, m.warm);
  }
};

template <>
struct Fields<UnloadModel> {
  static constexpr std::string_view kName = "unload_model";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<ModelUnloaded> {
  static constexpr std::string_view kName = "model_unloaded";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "resident", .required = true}, m.resident);
    visit(Rule{.name = "image_bytes", .required = false}, m.image_bytes);
  }
};

template <>
struct Fields<ListModels> {
  static constexpr std::string_view kName = "list_models";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<ModelList> {
  static constexpr std::string_view kName = "model_list";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "models", .required = true, .max_items = 4096}, m.models);
  }
};

template <>
struct Fields<Status> {
  static constexpr std::string_view kName = "status";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<StatusReport> {
  static constexpr std::string_view kName = "status_report";
  static constexpr bool kOpen = true;
  static constexpr std::string_view worker_state_choices[] = {"starting", "ready", "restarting", "failed"};
  static constexpr std::string_view health_choices[] = {"listening", "gpu_ok", "loaded", "warm", "failed"};
  static constexpr std::string_view mode_choices[] = {"serving", "draining", "drained", "suspended", "stopping"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "server", .required = true, .max_bytes = 128}, m.server);
    visit(Rule{.name = "boot_id", .required = true, .max_bytes = 64}, m.boot_id);
    visit(Rule{.name = "uptime_ms", .required = true}, m.uptime_ms);
    visit(Rule{.name = "worker_state", .required = true, .choices = worker_state_choices}, m.worker_state);
    visit(Rule{.name = "worker_pid", .required = false}, m.worker_pid);
    visit(Rule{.name = "worker_restarts", .required = false}, m.worker_restarts);
    visit(Rule{.name = "devices", .required = false, .max_items = 64}, m.devices);
    visit(Rule{.name = "slots", .required = false}, m.slots);
    visit(Rule{.name = "running", .required = false}, m.running);
    visit(Rule{.name = "queued", .required = false}, m.queued);
    visit(Rule{.name = "served", .required = false}, m.served);
    visit(Rule{.name = "failed", .required = false}, m.failed);
    visit(Rule{.name = "arenas", .required = false}, m.arenas);
    visit(Rule{.name = "arena_bytes", .required = false}, m.arena_bytes);
    visit(Rule{.name = "results", .required = false}, m.results);
    visit(Rule{.name = "result_bytes", .required = false}, m.result_bytes);
    visit(Rule{.name = "rss_bytes", .required = false}, m.rss_bytes);
    visit(Rule{.name = "descriptors", .required = false}, m.descriptors);
    visit(Rule{.name = "memory_bytes", .required = false}, m.memory_bytes);
    visit(Rule{.name = "memory_budget_bytes", .required = false}, m.memory_budget_bytes);
    visit(Rule{.name = "warm_bytes", .required = false}, m.warm_bytes);
    visit(Rule{.name = "warm_budget_bytes", .required = false}, m.warm_budget_bytes);
    visit(Rule{.name = "caches", .required = false, .max_items = 1024}, m.caches);
    visit(Rule{.name = "models", .required = false, .max_items = 4096}, m.models);
    visit(Rule{.name = "clients", .required = false, .max_items = 4096}, m.clients);
    visit(Rule{.name = "health", .required = false, .choices = health_choices}, m.health);
    visit(Rule{.name = "health_reasons", .required = false, .max_items = 16}, m.health_reasons);
    visit(Rule{.name = "mode", .required = false, .choices = mode_choices}, m.mode);
    visit(Rule{.name = "may_administer", .required = false}, m.may_administer);
    visit(Rule{.name = "upgrades", .required = false}, m.upgrades);
    visit(Rule{.name = "log", .required = false, .max_bytes = 4096}, m.log);
    visit(Rule{.name = "quarantined", .required = false, .max_items = 256}, m.quarantined);
    visit(Rule{.name = "last_errors", .required = false, .max_items = 16}, m.last_errors);
    visit(Rule{.name = "device_state", .required = false}, m.device_state);
    visit(Rule{.name = "generated_tokens", .required = false}, m.generated_tokens);
    visit(Rule{.name = "tokens_per_second", .required = false}, m.tokens_per_second);
  }
};

template <>
struct Fields<FreeMemory> {
  static constexpr std::string_view kName = "free_memory";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "nbytes", .required = false}, m.nbytes);
  }
};

template <>
struct Fields<MemoryFreed> {
  static constexpr std::string_view kName = "memory_freed";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "freed_bytes", .required = true}, m.freed_bytes);
    visit(Rule{.name = "resident_bytes", .required = true}, m.resident_bytes);
    visit(Rule{.name = "models", .required = false, .max_items = 4096}, m.models);
  }
};

template <>
struct Fields<PlanLoad> {
  static constexpr std::string_view kName = "plan_load";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<LoadPlan> {
  static constexpr std::string_view kName = "load_plan";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "is_hot", .required = false}, m.is_hot);
    visit(Rule{.name = "is_warm", .required = false}, m.is_warm);
    visit(Rule{.name = "fits", .required = false}, m.fits);
    visit(Rule{.name = "memory", .required = false}, m.memory);
    visit(Rule{.name = "free_bytes", .required = false}, m.free_bytes);
    visit(Rule{.name = "budget_bytes", .required = false}, m.budget_bytes);
    visit(Rule{.name = "leaving", .required = false, .max_items = 4096}, m.leaving);
    visit(Rule{.name = "at_work", .required = false, .max_items = 4096}, m.at_work);
  }
};

template <>
struct Fields<Generate> {
  static constexpr std::string_view kName = "generate";
  static constexpr bool kOpen = false;
  static constexpr std::string_view thinking_choices[] = {"auto", "on", "off"};
  static constexpr std::string_view priority_choices[] = {"interactive", "batch", "maintenance"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "messages", .required = true, .max_items = 1024}, m.messages);
    visit(Rule{.name = "max_tokens", .required = false, .min_integer = 1, .max_integer = 32768u}, m.max_tokens);
    visit(Rule{.name = "temperature", .required = false, .min_real = 0.0, .max_real = 2.0}, m.temperature);
    visit(Rule{.name = "top_k", .required = false, .min_integer = 0, .max_integer = 1000u}, m.top_k);
    visit(Rule{.name = "top_p", .required = false, .min_real = 0.0, .max_real = 1.0}, m.top_p);
    visit(Rule{.name = "min_p", .required = false, .min_real = 0.0, .max_real = 1.0}, m.min_p);
    visit(Rule{.name = "typical_p", .required = false, .min_real = 0.0, .max_real = 1.0}, m.typical_p);
    visit(Rule{.name = "repetition_penalty", .required = false, .min_real = 0.1, .max_real = 5.0}, m.repetition_penalty);
    visit(Rule{.name = "presence_penalty", .required = false, .min_real = -2.0, .max_real = 2.0}, m.presence_penalty);
    visit(Rule{.name = "frequency_penalty", .required = false, .min_real = -2.0, .max_real = 2.0}, m.frequency_penalty);
    visit(Rule{.name = "no_repeat_ngram", .required = false, .min_integer = 0, .max_integer = 64u}, m.no_repeat_ngram);
    visit(Rule{.name = "answers", .required = false, .min_integer = 1, .max_integer = 8u}, m.answers);
    visit(Rule{.name = "beams", .required = false, .min_integer = 1, .max_integer = 8u}, m.beams);
    visit(Rule{.name = "length_penalty", .required = false, .min_real = -5.0, .max_real = 5.0}, m.length_penalty);
    visit(Rule{.name = "thinking", .required = false, .choices = thinking_choices}, m.thinking);
    visit(Rule{.name = "thinking_tokens", .required = false, .min_integer = 0, .max_integer = 32768u}, m.thinking_tokens);
    visit(Rule{.name = "json_schema", .required = false, .max_bytes = 262144}, m.json_schema);
    visit(Rule{.name = "regex", .required = false, .max_bytes = 65536}, m.regex);
    visit(Rule{.name = "seed", .required = false, .min_integer = 0, .max_integer = 18446744073709551615u}, m.seed);
    visit(Rule{.name = "stop", .required = false, .max_items = 16, .max_bytes = 256}, m.stop);
    visit(Rule{.name = "model_defaults", .required = false}, m.model_defaults);
    visit(Rule{.name = "min_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.min_pixels);
    visit(Rule{.name = "max_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.max_pixels);
    visit(Rule{.name = "priority", .required = false, .choices = priority_choices}, m.priority);
    visit(Rule{.name = "key", .required = false, .max_bytes = 64}, m.key);
    visit(Rule{.name = "result_key", .required = false, .max_bytes = 128}, m.result_key);
  }
};

template <>
struct Fields<Token> {
  static constexpr std::string_view kName = "token";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "text", .required = true, .max_bytes = 262144}, m.text);
    visit(Rule{.name = "token_ids", .required = true, .is_bin = true, .max_bytes = 524288}, m.token_ids);
    visit(Rule{.name = "answer", .required = false}, m.answer);
    visit(Rule{.name = "thinking", .required = false}, m.thinking);
  }
};

template <>
struct Fields<Progress> {
  static constexpr std::string_view kName = "progress";
  static constexpr bool kOpen = true;
  static constexpr std::string_view stage_choices[] = {"queued", "loading", "preprocess", "vision", "prefill", "decode"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "stage", .required = true, .choices = stage_choices}, m.stage);
    visit(Rule{.name = "done", .required = false}, m.done);
    visit(Rule{.name = "total", .required = false}, m.total);
  }
};

template <>
struct Fields<InputsDone> {
  static constexpr std::string_view kName = "inputs_done";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<Generated> {
  static constexpr std::string_view kName = "generated";
  static constexpr bool kOpen = false;
  static constexpr std::string_view stop_reason_choices[] = {"end_token", "stop_string", "max_tokens"};
  static constexpr std::string_view coordinates_choices[] = {"none", "thousandths", "pixels"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "text", .required = true, .max_bytes = 262144}, m.text);
    visit(Rule{.name = "thinking", .required = false, .max_bytes = 262144}, m.thinking);
    visit(Rule{.name = "thinking_closed", .required = false}, m.thinking_closed);
    visit(Rule{.name = "token_ids", .required = true, .is_bin = true, .max_bytes = 524288}, m.token_ids);
    visit(Rule{.name = "prompt_token_ids", .required = true, .is_bin = true, .max_bytes = 524288}, m.prompt_token_ids);
    visit(Rule{.name = "token_us", .required = true, .is_bin = true, .max_bytes = 131072}, m.token_us);
    visit(Rule{.name = "stop_reason", .required = true, .choices = stop_reason_choices}, m.stop_reason);
    visit(Rule{.name = "score", .required = false}, m.score);
    visit(Rule{.name = "others", .required = false, .max_items = 7}, m.others);
    visit(Rule{.name = "pictures", .required = false, .max_items = 1024}, m.pictures);
    visit(Rule{.name = "coordinates", .required = false, .choices = coordinates_choices}, m.coordinates);
    visit(Rule{.name = "receipt", .required = true}, m.receipt);
    visit(Rule{.name = "warnings", .required = false, .max_items = 64}, m.warnings);
  }
};

template <>
struct Fields<Encode> {
  static constexpr std::string_view kName = "encode";
  static constexpr bool kOpen = false;
  static constexpr std::string_view dtype_choices[] = {"model", "f32", "f16", "bf16"};
  static constexpr std::string_view priority_choices[] = {"interactive", "batch", "maintenance"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "messages", .required = true, .max_items = 1024}, m.messages);
    visit(Rule{.name = "layers", .required = true, .min_integer = -1024, .max_integer = 1024u, .max_items = 64}, m.layers);
    visit(Rule{.name = "dtype", .required = false, .choices = dtype_choices}, m.dtype);
    visit(Rule{.name = "generation_prompt", .required = false}, m.generation_prompt);
    visit(Rule{.name = "min_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.min_pixels);
    visit(Rule{.name = "max_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.max_pixels);
    visit(Rule{.name = "priority", .required = false, .choices = priority_choices}, m.priority);
    visit(Rule{.name = "key", .required = false, .max_bytes = 64}, m.key);
  }
};

template <>
struct Fields<Encoded> {
  static constexpr std::string_view kName = "encoded";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "tensors", .required = true, .max_items = 64}, m.tensors);
    visit(Rule{.name = "prompt_token_ids", .required = true, .is_bin = true, .max_bytes = 524288}, m.prompt_token_ids);
    visit(Rule{.name = "receipt", .required = true}, m.receipt);
    visit(Rule{.name = "warnings", .required = false, .max_items = 64}, m.warnings);
  }
};

template <>
struct Fields<CountTokens> {
  static constexpr std::string_view kName = "count_tokens";
  static constexpr bool kOpen = false;
  static constexpr std::string_view thinking_choices[] = {"auto", "on", "off"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "messages", .required = true, .max_items = 1024}, m.messages);
    visit(Rule{.name = "thinking", .required = false, .choices = thinking_choices}, m.thinking);
    visit(Rule{.name = "min_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.min_pixels);
    visit(Rule{.name = "max_pixels", .required = false, .min_integer = 0, .max_integer = 268435456u}, m.max_pixels);
  }
};

template <>
struct Fields<TokensCounted> {
  static constexpr std::string_view kName = "tokens_counted";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "prompt_tokens", .required = true}, m.prompt_tokens);
    visit(Rule{.name = "image_tokens", .required = false}, m.image_tokens);
    visit(Rule{.name = "context_tokens", .required = true}, m.context_tokens);
    visit(Rule{.name = "pictures", .required = false, .max_items = 1024}, m.pictures);
  }
};

template <>
struct Fields<Done> {
  static constexpr std::string_view kName = "done";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "text", .required = false, .max_bytes = 4096}, m.text);
  }
};

template <>
struct Fields<ListJobs> {
  static constexpr std::string_view kName = "list_jobs";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<JobList> {
  static constexpr std::string_view kName = "job_list";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "jobs", .required = false, .max_items = 4096}, m.jobs);
  }
};

template <>
struct Fields<CancelJob> {
  static constexpr std::string_view kName = "cancel_job";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "job", .required = true}, m.job);
  }
};

template <>
struct Fields<KickClient> {
  static constexpr std::string_view kName = "kick_client";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "connection", .required = true}, m.connection);
  }
};

template <>
struct Fields<PinModel> {
  static constexpr std::string_view kName = "pin_model";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "pin", .required = false}, m.pin);
  }
};

template <>
struct Fields<EvictModel> {
  static constexpr std::string_view kName = "evict_model";
  static constexpr bool kOpen = false;
  static constexpr std::string_view to_choices[] = {"warm", "cold"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "to", .required = false, .choices = to_choices}, m.to);
  }
};

template <>
struct Fields<Drain> {
  static constexpr std::string_view kName = "drain";
  static constexpr bool kOpen = false;
  static constexpr std::string_view then_choices[] = {"stay", "stop"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "timeout_ms", .required = false, .max_integer = 86400000u}, m.timeout_ms);
    visit(Rule{.name = "then", .required = false, .choices = then_choices}, m.then);
  }
};

template <>
struct Fields<Suspend> {
  static constexpr std::string_view kName = "suspend";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "timeout_ms", .required = false, .max_integer = 86400000u}, m.timeout_ms);
  }
};

template <>
struct Fields<Resume> {
  static constexpr std::string_view kName = "resume";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<ClearQuarantine> {
  static constexpr std::string_view kName = "clear_quarantine";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = false, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<ShowConfig> {
  static constexpr std::string_view kName = "show_config";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<ConfigList> {
  static constexpr std::string_view kName = "config_list";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "values", .required = false, .max_items = 1024}, m.values);
    visit(Rule{.name = "files", .required = false, .max_items = 256, .max_bytes = 4096}, m.files);
  }
};

template <>
struct Fields<ReloadConfig> {
  static constexpr std::string_view kName = "reload_config";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "apply", .required = false}, m.apply);
  }
};

template <>
struct Fields<ConfigReport> {
  static constexpr std::string_view kName = "config_report";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "applied", .required = false}, m.applied);
    visit(Rule{.name = "changes", .required = false, .max_items = 1024}, m.changes);
    visit(Rule{.name = "problems", .required = false, .max_items = 256, .max_bytes = 4096}, m.problems);
  }
};

template <>
struct Fields<ListRequests> {
  static constexpr std::string_view kName = "list_requests";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "before", .required = false}, m.before);
    visit(Rule{.name = "limit", .required = false, .min_integer = 1, .max_integer = 256u}, m.limit);
  }
};

template <>
struct Fields<RequestList> {
  static constexpr std::string_view kName = "request_list";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "requests", .required = false, .max_items = 256}, m.requests);
    visit(Rule{.name = "more", .required = false}, m.more);
  }
};

template <>
struct Fields<Metrics> {
  static constexpr std::string_view kName = "metrics";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<MetricsText> {
  static constexpr std::string_view kName = "metrics_text";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "text", .required = true, .max_bytes = 1000000}, m.text);
  }
};

template <>
struct Fields<Upgrade> {
  static constexpr std::string_view kName = "upgrade";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<WorkerReady> {
  static constexpr std::string_view kName = "worker_ready";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "device", .required = true}, m.device);
    visit(Rule{.name = "slots", .required = true, .min_integer = 1, .max_integer = 1024u}, m.slots);
    visit(Rule{.name = "families", .required = true, .max_items = 256}, m.families);
    visit(Rule{.name = "remarks", .required = false, .max_items = 64}, m.remarks);
  }
};

template <>
struct Fields<AttachArena> {
  static constexpr std::string_view kName = "attach_arena";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "nbytes", .required = true}, m.nbytes);
  }
};

template <>
struct Fields<DetachArena> {
  static constexpr std::string_view kName = "detach_arena";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
  }
};

template <>
struct Fields<AttachModel> {
  static constexpr std::string_view kName = "attach_model";
  static constexpr bool kOpen = false;
  static constexpr std::string_view dtype_choices[] = {"auto", "float32", "bfloat16", "float8", "int8", "int4"};
  static constexpr std::string_view head_choices[] = {"auto", "bfloat16"};
  static constexpr std::string_view attention_choices[] = {"auto", "flash", "sdpa", "eager"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "name", .required = true, .max_bytes = 256}, m.name);
    visit(Rule{.name = "labels", .required = true, .max_items = 240, .max_bytes = 255}, m.labels);
    visit(Rule{.name = "dtype", .required = false, .choices = dtype_choices}, m.dtype);
    visit(Rule{.name = "head", .required = false, .choices = head_choices}, m.head);
    visit(Rule{.name = "attention", .required = false, .choices = attention_choices}, m.attention);
  }
};

template <>
struct Fields<DetachModel> {
  static constexpr std::string_view kName = "detach_model";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<StopWorker> {
  static constexpr std::string_view kName = "stop_worker";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<AssignJob> {
  static constexpr std::string_view kName = "assign_job";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "user", .required = false}, m.user);
    visit(Rule{.name = "client", .required = true}, m.client);
    visit(Rule{.name = "out_bytes", .required = true}, m.out_bytes);
  }
};

template <>
struct Fields<LendArena> {
  static constexpr std::string_view kName = "lend_arena";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "client", .required = true}, m.client);
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "nbytes", .required = true}, m.nbytes);
  }
};

template <>
struct Fields<TakeBackArena> {
  static constexpr std::string_view kName = "take_back_arena";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
  }
};

template <>
struct Fields<ReleaseSlots> {
  static constexpr std::string_view kName = "release_slots";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "arena", .required = true}, m.arena);
    visit(Rule{.name = "offsets", .required = true, .max_items = 4096}, m.offsets);
  }
};

template <>
struct Fields<ForgetClient> {
  static constexpr std::string_view kName = "forget_client";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "client", .required = true}, m.client);
  }
};

template <>
struct Fields<Computed> {
  static constexpr std::string_view kName = "computed";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each([[maybe_unused]] M& m, [[maybe_unused]] Visit&& visit) {
  }
};

template <>
struct Fields<CacheReport> {
  static constexpr std::string_view kName = "cache_report";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "caches", .required = false, .max_items = 1024}, m.caches);
  }
};

template <>
struct Fields<RestModel> {
  static constexpr std::string_view kName = "rest_model";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<ForgetImage> {
  static constexpr std::string_view kName = "forget_image";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
  }
};

template <>
struct Fields<WeightsCache> {
  static constexpr std::string_view kName = "weights_cache";
  static constexpr bool kOpen = false;
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "writes", .required = true}, m.writes);
    visit(Rule{.name = "most_bytes", .required = true}, m.most_bytes);
    visit(Rule{.name = "keep_free", .required = true}, m.keep_free);
  }
};

template <>
struct Fields<WeightsCached> {
  static constexpr std::string_view kName = "weights_cached";
  static constexpr bool kOpen = false;
  static constexpr std::string_view outcome_choices[] = {"read", "written", "damaged", "unused", "too_large", "disk_full", "failed"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "model", .required = true, .max_bytes = 64}, m.model);
    visit(Rule{.name = "outcome", .required = true, .choices = outcome_choices}, m.outcome);
    visit(Rule{.name = "nbytes", .required = false}, m.nbytes);
  }
};

template <>
struct Fields<Beat> {
  static constexpr std::string_view kName = "beat";
  static constexpr bool kOpen = false;
  static constexpr std::string_view phase_choices[] = {"idle", "attach", "load", "preprocess", "vision", "prefill", "decode"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "phase", .required = true, .choices = phase_choices}, m.phase);
    visit(Rule{.name = "model", .required = false, .max_bytes = 64}, m.model);
    visit(Rule{.name = "steps", .required = false}, m.steps);
    visit(Rule{.name = "since_ms", .required = false}, m.since_ms);
    visit(Rule{.name = "device_state", .required = false}, m.device_state);
  }
};

template <>
struct Fields<LastWords> {
  static constexpr std::string_view kName = "last_words";
  static constexpr bool kOpen = false;
  static constexpr std::string_view cause_choices[] = {"sticky", "device_lost", "out_of_memory", "internal"};
  template <class M, class Visit>
  static void each(M& m, Visit&& visit) {
    visit(Rule{.name = "cause", .required = true, .choices = cause_choices}, m.cause);
    visit(Rule{.name = "what", .required = true, .max_bytes = 1024}, m.what);
  }
};

// Calls visit.operator()<Message>() for every message.
template <class Visit>
void each_message(Visit&& visit) {
  visit.template operator()<Hello>();
  visit.template operator()<Welcome>();
  visit.template operator()<Error>();
  visit.template operator()<Cancel>();
  visit.template operator()<Goaway>();
  visit.template operator()<Ping>();
  visit.template operator()<Pong>();
  visit.template operator()<ArenaAsk>();
  visit.template operator()<ArenaGrant>();
  visit.template operator()<ArenaDrop>();
  visit.template operator()<ArenaDropped>();
  visit.template operator()<OutArena>();
  visit.template operator()<OutArenaGone>();
  visit.template operator()<Release>();
  visit.template operator()<Released>();
  visit.template operator()<OfferModel>();
  visit.template operator()<ModelOffered>();
  visit.template operator()<LoadModel>();
  visit.template operator()<ModelLoaded>();
  visit.template operator()<UnloadModel>();
  visit.template operator()<ModelUnloaded>();
  visit.template operator()<ListModels>();
  visit.template operator()<ModelList>();
  visit.template operator()<Status>();
  visit.template operator()<StatusReport>();
  visit.template operator()<FreeMemory>();
  visit.template operator()<MemoryFreed>();
  visit.template operator()<PlanLoad>();
  visit.template operator()<LoadPlan>();
  visit.template operator()<Generate>();
  visit.template operator()<Token>();
  visit.template operator()<Progress>();
  visit.template operator()<InputsDone>();
  visit.template operator()<Generated>();
  visit.template operator()<Encode>();
  visit.template operator()<Encoded>();
  visit.template operator()<CountTokens>();
  visit.template operator()<TokensCounted>();
  visit.template operator()<Done>();
  visit.template operator()<ListJobs>();
  visit.template operator()<JobList>();
  visit.template operator()<CancelJob>();
  visit.template operator()<KickClient>();
  visit.template operator()<PinModel>();
  visit.template operator()<EvictModel>();
  visit.template operator()<Drain>();
  visit.template operator()<Suspend>();
  visit.template operator()<Resume>();
  visit.template operator()<ClearQuarantine>();
  visit.template operator()<ShowConfig>();
  visit.template operator()<ConfigList>();
  visit.template operator()<ReloadConfig>();
  visit.template operator()<ConfigReport>();
  visit.template operator()<ListRequests>();
  visit.template operator()<RequestList>();
  visit.template operator()<Metrics>();
  visit.template operator()<MetricsText>();
  visit.template operator()<Upgrade>();
  visit.template operator()<WorkerReady>();
  visit.template operator()<AttachArena>();
  visit.template operator()<DetachArena>();
  visit.template operator()<AttachModel>();
  visit.template operator()<DetachModel>();
  visit.template operator()<StopWorker>();
  visit.template operator()<AssignJob>();
  visit.template operator()<LendArena>();
  visit.template operator()<TakeBackArena>();
  visit.template operator()<ReleaseSlots>();
  visit.template operator()<ForgetClient>();
  visit.template operator()<Computed>();
  visit.template operator()<CacheReport>();
  visit.template operator()<RestModel>();
  visit.template operator()<ForgetImage>();
  visit.template operator()<WeightsCache>();
  visit.template operator()<WeightsCached>();
  visit.template operator()<Beat>();
  visit.template operator()<LastWords>();
}

}  // namespace hearth::contract
