#include "daemon/broker/observe.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include <fmt/format.h>

#include "shm/base/log.h"
#include "shm/base/text.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostWhatBytes = 1024;    // of error_entry and request_record
constexpr std::size_t kMostEvicted = 64;        // names that a receipt carries
constexpr std::size_t kMostEvictedBytes = 128;  // of each

// For others than the one who asked: an error about a parameter may quote it.
std::string told(const std::string& what, std::string_view code) {
  return cut(redacted(what, code == "bad_request" || code == "unknown_model"), kMostWhatBytes);
}

std::string name_of_model(Core& core, const std::string& id) {
  const Model* model = core.models.find(id);
  return model == nullptr ? std::string() : model->name;
}

// Flow control and what somebody wanted are no faults.
bool is_fault(std::string_view code) {
  return code != "cancelled" && code != "busy" && code != "shutting_down";
}

// A receipt that is told again has the times of the request that it was made for.
contract::Receipt own_part(const contract::Receipt& receipt) {
  if (!receipt.replayed) return receipt;
  contract::Receipt own;
  own.replayed = true;
  own.model = receipt.model;
  own.prompt_tokens = receipt.prompt_tokens;
  own.generated_tokens = receipt.generated_tokens;
  return own;
}

contract::RequestRecord record_of(Core& core, const Client& client, const OpenRequest& request,
                                  const contract::Error* error) {
  contract::RequestRecord record;
  record.request = request.serial;
  record.kind = request.operation;
  record.client = client.name;
  record.connection = client.id;
  record.pid = client.peer.pid;
  record.uid = client.peer.uid;
  if (request.receipt) record.receipt = own_part(*request.receipt);
  if (record.receipt.model.empty()) record.receipt.model = request.observed_model;
  record.name = name_of_model(core, record.receipt.model);
  record.receipt.request = request.serial;
  const double total_ms = milliseconds_between(request.opened, core.now());
  record.receipt.total_ms = total_ms;
  record.at_ms = unix_ms() - static_cast<std::uint64_t>(std::max(total_ms, 0.0));
  record.is_cold = record.receipt.load_ms > 0.0;
  if (error == nullptr) return record;
  record.code = error->code;
  record.what = told(error->what, error->code);
  return record;
}

void count_phases(MetricSet& counts, const contract::RequestRecord& record) {
  const contract::Receipt& receipt = record.receipt;
  const std::pair<const char*, double> phases[] = {
      {"queue", receipt.queue_ms},           {"load", receipt.load_ms},
      {"preprocess", receipt.preprocess_ms}, {"vision", receipt.vision_ms},
      {"prefill", receipt.prefill_ms},       {"decode", receipt.decode_ms}};
  for (const auto& [phase, ms] : phases)
    if (ms > 0.0) counts.observe(Metric::kPhaseSeconds, {record.kind, phase}, ms / 1000);
  if (receipt.first_token_ms > 0.0)
    counts.observe(Metric::kFirstTokenSeconds, {record.is_cold ? "cold" : "warm"},
                   receipt.first_token_ms / 1000);
}

void count(Telemetry& telemetry, const contract::RequestRecord& record) {
  MetricSet& counts = telemetry.counts;
  const std::string model = telemetry.model_words.label_of(record.name);
  counts.add(Metric::kRequests, {record.kind, model, record.code.empty() ? "ok" : record.code});
  if (!record.code.empty() || record.receipt.replayed) return;
  count_phases(counts, record);
  const contract::Receipt& receipt = record.receipt;
  if (receipt.prompt_tokens > 0) counts.add(Metric::kPromptTokens, {model}, receipt.prompt_tokens);
  if (receipt.cached_tokens > 0)
    counts.add(Metric::kCachedPromptTokens, {model}, receipt.cached_tokens);
  if (receipt.generated_tokens > 0)
    counts.add(Metric::kGeneratedTokens, {model}, receipt.generated_tokens);
}

void log_end(const contract::RequestRecord& record) {
  const bool failed = !record.code.empty() && is_fault(record.code);
  log::event(failed ? log::Level::kInfo : log::Level::kDebug, "request_ended",
             {{"request", record.request},
              {"op", record.kind},
              {"model", record.name},
              {"client", record.client},
              {"connection", record.connection},
              {"uid", record.uid},
              {"code", record.code.empty() ? "ok" : record.code},
              {"ms", record.receipt.total_ms}},
             "request {} ({}{}{}) of {} {} after {:.0f} ms{}{}", record.request, record.kind,
             record.name.empty() ? "" : " with ", printable(record.name), printable(record.client),
             record.code.empty() ? "was answered" : "ended: " + record.code,
             record.receipt.total_ms, record.what.empty() ? "" : ": ", printable(record.what));
}

}  // namespace

void observe_request(Core& core, Caller caller, std::string_view operation, const Model* model) {
  OpenRequest* request = core.find_open(caller);
  if (request == nullptr) return;
  request->operation = operation;
  if (model != nullptr) request->observed_model = model->id;
}

void observe_job(Core& core, const Job& job) {
  OpenRequest* request = core.find_open(job.caller);
  if (request == nullptr) return;
  const TimePoint now = core.now();
  contract::Receipt& receipt = request->receipt.emplace();
  receipt.model = job.model;
  receipt.load_ms = job.load_ms;
  receipt.warm_load = job.warm_load;
  receipt.evicted = job.evicted;
  const TimePoint dispatched = job.running ? job.dispatched : now;
  receipt.queue_ms = std::max(0.0, milliseconds_between(job.arrived, dispatched) - job.load_ms);
  if (job.first_token != TimePoint{})
    receipt.first_token_ms = milliseconds_between(job.arrived, job.first_token);
}

void observe_answer(Core& core, Caller caller, contract::Receipt& receipt) {
  OpenRequest* request = core.find_open(caller);
  if (request == nullptr) return;
  receipt.request = request->serial;
  request->receipt = receipt;
  if (!receipt.replayed && !receipt.device_state.source.empty())
    observe_device(core, receipt.device_state);
  Model* model = core.models.find(receipt.model);
  if (model != nullptr && model->stage == Stage::kHot && !receipt.replayed) model->answered = true;
}

// Microseconds from token to token, 0 for the first.
void observe_answer(Core& core, Caller caller, contract::Generated& reply) {
  observe_answer(core, caller, reply.receipt);
  for (std::size_t at = sizeof(std::int32_t); at + sizeof(std::int32_t) <= reply.token_us.size();
       at += sizeof(std::int32_t)) {
    std::int32_t us = 0;
    std::memcpy(&us, reply.token_us.data() + at, sizeof(us));
    core.telemetry.counts.observe(Metric::kTokenGapSeconds, {}, us / 1e6);
  }
}

void observe_end(Core& core, const Client& client, const OpenRequest& request,
                 const contract::Error* error) {
  if (request.operation.empty()) return;
  contract::RequestRecord record = record_of(core, client, request, error);
  count(core.telemetry, record);
  log_end(record);
  if (error != nullptr && is_fault(record.code)) {
    contract::ErrorEntry entry;
    entry.at_ms = unix_ms();
    entry.code = record.code;
    entry.what = record.what;
    entry.model = record.name;
    entry.client = record.client;
    core.telemetry.errors.add(client.peer.uid, std::move(entry));
  }
  core.telemetry.records.add(std::move(record));
}

void observe_eviction(Core& core, bool rests) {
  core.telemetry.counts.add(Metric::kEvictions, {rests ? "warm" : "cold"});
}

void observe_leaving(Core& core, const Model& model, const Model& wanted) {
  std::vector<std::string>& names = core.telemetry.evicted_for[wanted.id];
  if (names.size() < kMostEvicted) names.push_back(cut(model.name, kMostEvictedBytes));
}

std::vector<std::string> take_evicted(Core& core, const Model& wanted) {
  const auto node = core.telemetry.evicted_for.extract(wanted.id);
  return node.empty() ? std::vector<std::string>() : node.mapped();
}

void observe_load(Core& core, const Model& model) {
  core.telemetry.counts.add(Metric::kModelLoads, {model.warm_load ? "pinned" : "files"});
}

void observe_fault(Core& core, const Error& error, const std::string& model) {
  contract::ErrorEntry entry;
  entry.at_ms = unix_ms();
  entry.code = name_of(error.code);
  entry.what = told(error.what, entry.code);
  entry.model = model;
  core.telemetry.errors.add(std::nullopt, std::move(entry));
}

void observe_violation(Core& core, std::string_view kind) {
  core.telemetry.counts.add(Metric::kProtocolErrors, {std::string(kind)});
}

void observe_worker_end(Core& core, std::string_view reason) {
  core.telemetry.counts.add(Metric::kWorkerRestarts, {std::string(reason)});
}

void observe_device(Core& core, const contract::DeviceState& state) {
  core.telemetry.device = state;
  core.telemetry.device_at = core.now();
}

InputWatch::InputWatch(Core& core, std::string_view input)
    : core_(core), input_(input), is_outermost_(core.telemetry.stalled_since == TimePoint::max()) {
  if (is_outermost_) core_.telemetry.stalled_since = core_.now();
}

InputWatch::~InputWatch() {
  if (!is_outermost_) return;
  const TimePoint began = std::exchange(core_.telemetry.stalled_since, TimePoint::max());
  const double ms = milliseconds_between(began, core_.now());
  if (ms <= static_cast<double>(kStall.count())) return;
  core_.telemetry.counts.add(Metric::kLoopStalls);
  core_.telemetry.counts.add(Metric::kLoopStallSeconds, {}, ms / 1000);
  log::event(log::Level::kWarning, "loop_stalled", {{"input", input_}, {"ms", ms}},
             "the loop was busy with one {} for {:.0f} ms", input_, ms);
}

}  // namespace hearth::broker
