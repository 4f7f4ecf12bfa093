// What can go wrong, as a word that programs can act on.
// Generated from shm/contract/messages.toml by generate.py; edit that file instead.
// clang-format off
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hearth {

enum class Code : std::uint8_t {
  kBadRequest,  // The message is malformed or a parameter is out of range.
  kBadTensor,  // A tensor descriptor does not describe bytes the client may show.
  kBadPicture,  // A picture cannot be used: empty, not finite, or of an impossible shape.
  kUnknownMessage,  // This service does not know the message type.
  kVersion,  // Client and service speak no common protocol version.
  kUnsupported,  // hearth cannot do this, and does not pretend to.
  kUnknownModel,  // No such model was offered by this client or published by the service.
  kBadModel,  // The model's files are incomplete, damaged or of a kind hearth refuses.
  kModelChanged,  // A model file changed after it was offered.
  kTooLong,  // Prompt and answer do not fit into the model's context.
  kBusy,  // A limit of this connection or of the service is reached.
  kOutOfArena,  // The results this client holds fill the shared memory it may have.
  kOutOfMemory,  // Not enough memory on the device or in the arena.
  kCancelled,  // The client cancelled the request.
  kWorkerLost,  // The engine process ended while the request was open; a new one is starting.
  kShuttingDown,  // The service is stopping.
  kNotReachable,  // The service does not answer (made by the client library, never sent).
  kNotFinite,  // The model produced NaN or infinite logits.
  kDenied,  // Only an administrator of the service may do this.
  kQuarantined,  // The model ended the engine process repeatedly and is refused for a while.
  kDeviceFailed,  // The device cannot be used.
  kTimedOut,  // What was asked for has not happened in the time allowed.
  kInternal,  // A defect in hearth.
};

struct CodeText {
  std::string_view name;
  std::string_view hint;  // what the user can do
  bool retryable;         // the same request may succeed when sent again
};

inline constexpr CodeText kCodeTexts[] = {
    {"bad_request", "Correct the named field and send the request again.", false},
    {"bad_tensor", "Send a contiguous tensor inside an arena granted on this connection.", false},
    {"bad_picture", "Check the picture that the message names.", false},
    {"unknown_message", "Update hearth: the client is newer than the service.", false},
    {"version", "Update the older of the two; both versions are in the message.", false},
    {"unsupported", "See the message for what is supported instead.", false},
    {"unknown_model", "Offer the model first, or list what is there.", false},
    {"bad_model", "The message names the file and the tensor or key.", false},
    {"model_changed", "Offer the model again.", false},
    {"too_long", "Shorten the prompt, use smaller pictures or lower max_tokens.", false},
    {"busy", "Wait for open requests to end and try again.", true},
    {"out_of_arena", "Release results that are no longer needed, or copy them and release them at once.", true},
    {"out_of_memory", "Unload a model or use a smaller one; the message has the numbers.", false},
    {"cancelled", "", false},
    {"worker_lost", "Send the request again.", true},
    {"shutting_down", "Send the request again when the service is back.", true},
    {"not_reachable", "Start it: `hearthd` in a terminal, or `systemctl --user start hearthd`.", true},
    {"not_finite", "Load it with dtype float32, and report the model if that helps.", false},
    {"denied", "Run it as the user who runs the service, as root, or as a member of the service's admin group.", false},
    {"quarantined", "`hearth quarantine list` shows why and for how long; `hearth quarantine clear` gives it another chance.", false},
    {"device_failed", "`hearth doctor` says what is wrong with it.", false},
    {"timed_out", "Allow more time, or see with `hearth status` what it waits for.", true},
    {"internal", "Please report it with the service's log.", false},
};

constexpr std::string_view name_of(Code code) { return kCodeTexts[std::size_t(code)].name; }
constexpr std::string_view hint_of(Code code) { return kCodeTexts[std::size_t(code)].hint; }
constexpr bool retryable(Code code) { return kCodeTexts[std::size_t(code)].retryable; }

constexpr std::optional<Code> parse_code(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kCodeTexts); ++i)
    if (kCodeTexts[i].name == name) return Code(i);
  return std::nullopt;
}

}  // namespace hearth
