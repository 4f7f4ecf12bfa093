// Requests whose answer is known: the result cache's way in and out.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// True: `sent`, whose request is open, asks what was answered before and has its answer. Neither
// the model nor the engine is needed for that.
bool recall(Core& core, const Job& sent);

// Keeps the answer of a request with a result_key.
void keep_result(Core& core, const Job& job, const contract::Generated& reply);
inline void keep_result(Core&, const Job&, const contract::Encoded&) {
}  // holds memory of a connection

}  // namespace hearth::broker
