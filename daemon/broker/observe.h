// Fills the telemetry in: what became of each request, what left memory, what went wrong, how long
// the loop was busy; and what is told of it: metrics, the file with them, and parts of the status.
#pragma once

#include <string_view>

#include "daemon/broker/core.h"

namespace hearth::broker {

// --- requests that are kept: generate, encode, load ---

// `operation`: the request behind `caller` is recorded when it ends.
void observe_request(Core& core, Caller caller, std::string_view operation, const Model* model);
// What is known of a request so far: the job's waiting and loading. Before it ends.
void observe_job(Core& core, const Job& job);
// The request is answered next, with this receipt, which gets the request's number.
void observe_answer(Core& core, Caller caller, contract::Receipt& receipt);
void observe_answer(Core& core, Caller caller, contract::Generated& reply);
// A request ends; `error` null: with its reply.
void observe_end(Core& core, const Client& client, const OpenRequest& request,
                 const contract::Error* error);

// --- models ---

// A model leaves the device.
void observe_eviction(Core& core, bool rests);
// It does so for `wanted`, which is to be loaded.
void observe_leaving(Core& core, const Model& model, const Model& wanted);
// The model that others left for is there, or is not loaded after all: what left for it.
std::vector<std::string> take_evicted(Core& core, const Model& wanted);
void observe_load(Core& core, const Model& model);

// --- the service itself ---

// Something went wrong that is nobody's request.
void observe_fault(Core& core, const Error& error, const std::string& model = {});
// A frame against the rules; `kind` as in docs/metrics.md.
void observe_violation(Core& core, std::string_view kind);
// The engine process is gone; `reason` as in docs/metrics.md.
void observe_worker_end(Core& core, std::string_view reason);
void observe_device(Core& core, const contract::DeviceState& state);

// Lives as long as one input of the core is handled. A long one is logged and counted: meanwhile
// nobody else was served. Inputs within inputs count once.
class InputWatch {
 public:
  static constexpr Milliseconds kStall{20};

  InputWatch(Core& core, std::string_view input);
  ~InputWatch();
  InputWatch(const InputWatch&) = delete;
  InputWatch& operator=(const InputWatch&) = delete;

 private:
  Core& core_;
  const std::string_view input_;
  const bool is_outermost_;
};

// --- what is told ---

std::string metrics_text(Core& core);
// Writes config.metrics_file when it is time to, off the loop.
void metrics_tick(Core& core);
// health, health_reasons, last_errors, device_state.
void add_telemetry(Core& core, const Client& client, contract::StatusReport& report);

}  // namespace hearth::broker
