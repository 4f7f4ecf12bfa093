// Device memory as a ledger: what every model takes of the budget, who leaves for another, and who
// is in the way.
//
// A model is charged from the moment its load begins until its unloading has ended, with what was
// planned before or, where that is more, what the engine says it took. Idle models may have to
// leave, whoever holds them; a model that is pinned, or with a request that runs or waits, never
// has to.
#pragma once

#include <string_view>

#include "daemon/broker/core.h"

namespace hearth::broker {

// The most that all models may take together; the largest number when nobody knows.
std::uint64_t memory_budget_bytes(const Core& core);
std::uint64_t planned_bytes(const Model& model);
// What the ledger sets aside for it now.
std::uint64_t charged_bytes(const Model& model);
std::uint64_t charged_bytes(Core& core);  // of all models

// True: `model` may be loaded now. False: others are leaving for it; advance() it when one is gone.
// Errors: out_of_memory with the numbers and those that are at work.
Result<bool> find_room(Core& core, const Model& model);
// The engine had less room than the ledger says. Has the idle model leave that is the least loss;
// false: there is none.
bool make_more_room(Core& core, const Model& wanted);
// What find_room() would do.
contract::LoadPlan plan_load(Core& core, const Model& model);

// Idle models leave until `nbytes` (0: all they have) are given back; then `caller` is answered.
void free_memory(Core& core, Caller caller, std::uint64_t nbytes);
// `model`, which is hot and idle, leaves the device, and rests if it may and there is room for its
// image. `for_whom`, for the log.
void leave_device(Core& core, Model& model, bool may_rest, std::string_view for_whom);
// The same for whoever asks by name, whatever stage the model is in; `caller` is answered with
// memory_freed. One that rests gives up its image unless it `may_rest`. May remove the model.
// Errors: busy, at work or on its way.
Result<void> check_idle(const Model& model);
void evict_model(Core& core, Caller caller, Model& model, bool may_rest);
// A model that was leaving has left, or has not: `freed_bytes` 0.
void model_left(Core& core, const Model& model, std::uint64_t freed_bytes);

}  // namespace hearth::broker
