// Generated from shm/contract/messages.toml by generate.py; edit that file instead.
// clang-format off
#include "shm/contract/messages.h"

#include "shm/contract/codec.h"
#include "shm/contract/fields.h"

namespace hearth::contract {

std::string_view name_of_type(std::uint8_t type) {
  switch (type) {
    case 1: return "hello";
    case 2: return "welcome";
    case 3: return "error";
    case 4: return "cancel";
    case 5: return "goaway";
    case 6: return "ping";
    case 7: return "pong";
    case 8: return "arena_ask";
    case 9: return "arena_grant";
    case 10: return "arena_drop";
    case 11: return "arena_dropped";
    case 12: return "out_arena";
    case 13: return "out_arena_gone";
    case 14: return "release";
    case 15: return "released";
    case 16: return "offer_model";
    case 17: return "model_offered";
    case 18: return "load_model";
    case 19: return "model_loaded";
    case 20: return "unload_model";
    case 21: return "model_unloaded";
    case 22: return "list_models";
    case 23: return "model_list";
    case 24: return "status";
    case 25: return "status_report";
    case 26: return "free_memory";
    case 27: return "memory_freed";
    case 28: return "plan_load";
    case 29: return "load_plan";
    case 32: return "generate";
    case 33: return "token";
    case 34: return "progress";
    case 35: return "inputs_done";
    case 36: return "generated";
    case 37: return "encode";
    case 38: return "encoded";
    case 39: return "count_tokens";
    case 40: return "tokens_counted";
    case 41: return "done";
    case 42: return "list_jobs";
    case 43: return "job_list";
    case 44: return "cancel_job";
    case 45: return "kick_client";
    case 46: return "pin_model";
    case 47: return "evict_model";
    case 48: return "drain";
    case 49: return "suspend";
    case 50: return "resume";
    case 51: return "clear_quarantine";
    case 52: return "show_config";
    case 53: return "config_list";
    case 54: return "reload_config";
    case 55: return "config_report";
    case 56: return "list_requests";
    case 57: return "request_list";
    case 58: return "metrics";
    case 59: return "metrics_text";
    case 60: return "upgrade";
    case 64: return "worker_ready";
    case 65: return "attach_arena";
    case 66: return "detach_arena";
    case 67: return "attach_model";
    case 68: return "detach_model";
    case 69: return "stop_worker";
    case 70: return "assign_job";
    case 71: return "lend_arena";
    case 72: return "take_back_arena";
    case 73: return "release_slots";
    case 74: return "forget_client";
    case 75: return "computed";
    case 76: return "cache_report";
    case 77: return "rest_model";
    case 78: return "forget_image";
    case 79: return "weights_cache";
    case 80: return "weights_cached";
    case 81: return "beat";
    case 82: return "last_words";
    default: return "unknown";
  }
}

Kind kind_of_type(std::uint8_t type) {
  switch (type) {
    case 1: case 2: case 4: case 5: case 12: case 13: return Kind::kConnection;
    case 3: case 7: case 9: case 11: case 15: case 17: case 19: case 21: case 23: case 25: case 27: case 29: case 36: case 38: case 40: case 41: case 43: case 53: case 55: case 57: case 59: return Kind::kReply;
    case 6: case 8: case 10: case 14: case 16: case 18: case 20: case 22: case 24: case 26: case 28: case 32: case 37: case 39: case 42: case 44: case 45: case 46: case 47: case 48: case 49: case 50: case 51: case 52: case 54: case 56: case 58: case 60: return Kind::kRequest;
    case 33: case 34: case 35: return Kind::kEvent;
    case 64: case 65: case 66: case 67: case 68: case 69: case 70: case 71: case 72: case 73: case 74: case 75: case 76: case 77: case 78: case 79: case 80: case 81: case 82: return Kind::kLink;
    default: return Kind::kUnknown;
  }
}

bool may_carry_descriptors(std::uint8_t type) {
  switch (type) {
    case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: case 10: case 11: case 13: case 14: case 15: case 17: case 18: case 19: case 20: case 21: case 22: case 23: case 24: case 25: case 26: case 27: case 28: case 29: case 32: case 33: case 34: case 35: case 36: case 37: case 38: case 39: case 40: case 41: case 42: case 43: case 44: case 45: case 46: case 47: case 48: case 49: case 50: case 51: case 52: case 53: case 54: case 55: case 56: case 57: case 58: case 59: case 60: case 64: case 66: case 68: case 69: case 70: case 72: case 73: case 74: case 75: case 76: case 77: case 78: case 80: case 81: case 82: return false;
    case 9: case 12: case 16: case 65: case 67: case 71: case 79: return true;
    default: return false;
  }
}

template std::string pack(const Hello&);
template Result<Hello> unpack(std::span<const std::byte>);
template std::string pack(const Welcome&);
template Result<Welcome> unpack(std::span<const std::byte>);
template std::string pack(const Error&);
template Result<Error> unpack(std::span<const std::byte>);
template std::string pack(const Cancel&);
template Result<Cancel> unpack(std::span<const std::byte>);
template std::string pack(const Goaway&);
template Result<Goaway> unpack(std::span<const std::byte>);
template std::string pack(const Ping&);
template Result<Ping> unpack(std::span<const std::byte>);
template std::string pack(const Pong&);
template Result<Pong> unpack(std::span<const std::byte>);
template std::string pack(const ArenaAsk&);
template Result<ArenaAsk> unpack(std::span<const std::byte>);
template std::string pack(const ArenaGrant&);
template Result<ArenaGrant> unpack(std::span<const std::byte>);
template std::string pack(const ArenaDrop&);
template Result<ArenaDrop> unpack(std::span<const std::byte>);
template std::string pack(const ArenaDropped&);
template Result<ArenaDropped> unpack(std::span<const std::byte>);
template std::string pack(const OutArena&);
template Result<OutArena> unpack(std::span<const std::byte>);
template std::string pack(const OutArenaGone&);
template Result<OutArenaGone> unpack(std::span<const std::byte>);
template std::string pack(const Release&);
template Result<Release> unpack(std::span<const std::byte>);
template std::string pack(const Released&);
template Result<Released> unpack(std::span<const std::byte>);
template std::string pack(const OfferModel&);
template Result<OfferModel> unpack(std::span<const std::byte>);
template std::string pack(const ModelOffered&);
template Result<ModelOffered> unpack(std::span<const std::byte>);
template std::string pack(const LoadModel&);
template Result<LoadModel> unpack(std::span<const std::byte>);
template std::string pack(const ModelLoaded&);
template Result<ModelLoaded> unpack(std::span<const std::byte>);
template std::string pack(const UnloadModel&);
template Result<UnloadModel> unpack(std::span<const std::byte>);
template std::string pack(const ModelUnloaded&);
template Result<ModelUnloaded> unpack(std::span<const std::byte>);
template std::string pack(const ListModels&);
template Result<ListModels> unpack(std::span<const std::byte>);
template std::string pack(const ModelList&);
template Result<ModelList> unpack(std::span<const std::byte>);
template std::string pack(const Status&);
template Result<Status> unpack(std::span<const std::byte>);
template std::string pack(const StatusReport&);
template Result<StatusReport> unpack(std::span<const std::byte>);
template std::string pack(const FreeMemory&);
template Result<FreeMemory> unpack(std::span<const std::byte>);
template std::string pack(const MemoryFreed&);
template Result<MemoryFreed> unpack(std::span<const std::byte>);
template std::string pack(const PlanLoad&);
template Result<PlanLoad> unpack(std::span<const std::byte>);
template std::string pack(const LoadPlan&);
template Result<LoadPlan> unpack(std::span<const std::byte>);
template std::string pack(const Generate&);
template Result<Generate> unpack(std::span<const std::byte>);
template std::string pack(const Token&);
template Result<Token> unpack(std::span<const std::byte>);
template std::string pack(const Progress&);
template Result<Progress> unpack(std::span<const std::byte>);
template std::string pack(const InputsDone&);
template Result<InputsDone> unpack(std::span<const std::byte>);
template std::string pack(const Generated&);
template Result<Generated> unpack(std::span<const std::byte>);
template std::string pack(const Encode&);
template Result<Encode> unpack(std::span<const std::byte>);
template std::string pack(const Encoded&);
template Result<Encoded> unpack(std::span<const std::byte>);
template std::string pack(const CountTokens&);
template Result<CountTokens> unpack(std::span<const std::byte>);
template std::string pack(const TokensCounted&);
template Result<TokensCounted> unpack(std::span<const std::byte>);
template std::string pack(const Done&);
template Result<Done> unpack(std::span<const std::byte>);
template std::string pack(const ListJobs&);
template Result<ListJobs> unpack(std::span<const std::byte>);
template std::string pack(const JobList&);
template Result<JobList> unpack(std::span<const std::byte>);
template std::string pack(const CancelJob&);
template Result<CancelJob> unpack(std::span<const std::byte>);
template std::string pack(const KickClient&);
template Result<KickClient> unpack(std::span<const std::byte>);
template std::string pack(const PinModel&);
template Result<PinModel> unpack(std::span<const std::byte>);
template std::string pack(const EvictModel&);
template Result<EvictModel> unpack(std::span<const std::byte>);
template std::string pack(const Drain&);
template Result<Drain> unpack(std::span<const std::byte>);
template std::string pack(const Suspend&);
template Result<Suspend> unpack(std::span<const std::byte>);
template std::string pack(const Resume&);
template Result<Resume> unpack(std::span<const std::byte>);
template std::string pack(const ClearQuarantine&);
template Result<ClearQuarantine> unpack(std::span<const std::byte>);
template std::string pack(const ShowConfig&);
template Result<ShowConfig> unpack(std::span<const std::byte>);
template std::string pack(const ConfigList&);
template Result<ConfigList> unpack(std::span<const std::byte>);
template std::string pack(const ReloadConfig&);
template Result<ReloadConfig> unpack(std::span<const std::byte>);
template std::string pack(const ConfigReport&);
template Result<ConfigReport> unpack(std::span<const std::byte>);
template std::string pack(const ListRequests&);
template Result<ListRequests> unpack(std::span<const std::byte>);
template std::string pack(const RequestList&);
template Result<RequestList> unpack(std::span<const std::byte>);
template std::string pack(const Metrics&);
template Result<Metrics> unpack(std::span<const std::byte>);
template std::string pack(const MetricsText&);
template Result<MetricsText> unpack(std::span<const std::byte>);
template std::string pack(const Upgrade&);
template Result<Upgrade> unpack(std::span<const std::byte>);
template std::string pack(const WorkerReady&);
template Result<WorkerReady> unpack(std::span<const std::byte>);
template std::string pack(const AttachArena&);
template Result<AttachArena> unpack(std::span<const std::byte>);
template std::string pack(const DetachArena&);
template Result<DetachArena> unpack(std::span<const std::byte>);
template std::string pack(const AttachModel&);
template Result<AttachModel> unpack(std::span<const std::byte>);
template std::string pack(const DetachModel&);
template Result<DetachModel> unpack(std::span<const std::byte>);
template std::string pack(const StopWorker&);
template Result<StopWorker> unpack(std::span<const std::byte>);
template std::string pack(const AssignJob&);
template Result<AssignJob> unpack(std::span<const std::byte>);
template std::string pack(const LendArena&);
template Result<LendArena> unpack(std::span<const std::byte>);
template std::string pack(const TakeBackArena&);
template Result<TakeBackArena> unpack(std::span<const std::byte>);
template std::string pack(const ReleaseSlots&);
template Result<ReleaseSlots> unpack(std::span<const std::byte>);
template std::string pack(const ForgetClient&);
template Result<ForgetClient> unpack(std::span<const std::byte>);
template std::string pack(const Computed&);
template Result<Computed> unpack(std::span<const std::byte>);
template std::string pack(const CacheReport&);
template Result<CacheReport> unpack(std::span<const std::byte>);
template std::string pack(const RestModel&);
template Result<RestModel> unpack(std::span<const std::byte>);
template std::string pack(const ForgetImage&);
template Result<ForgetImage> unpack(std::span<const std::byte>);
template std::string pack(const WeightsCache&);
template Result<WeightsCache> unpack(std::span<const std::byte>);
template std::string pack(const WeightsCached&);
template Result<WeightsCached> unpack(std::span<const std::byte>);
template std::string pack(const Beat&);
template Result<Beat> unpack(std::span<const std::byte>);
template std::string pack(const LastWords&);
template Result<LastWords> unpack(std::span<const std::byte>);

}  // namespace hearth::contract
