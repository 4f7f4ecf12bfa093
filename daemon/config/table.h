// Every setting of the service, declared once.
//
// To add one: add one row here. Its environment variable (HEARTH_SECTION_NAME), its place in
// hearth.toml, the command line's option, docs/config.md, systemd/hearth.toml and the JSON schema
// follow from the row; `hearthd --print-config-doc > docs/config.md` and `hearthd
// --print-config-example > systemd/hearth.toml` write the generated files, and a test says when
// they are due. Whoever uses it reads it by its key, which the compiler checks together with its
// type:
//
//   settings.duration("server.drain")          config::usual_duration("server.drain")
//
// What the broker's core uses is carried into broker::Config by daemon/broker/settings.cpp, one
// line each. takes_effect promises something: a `live` value is read from Config whenever it is
// used, or settings.cpp tells whoever keeps a copy.
//
// Constants only; any thread.
#pragma once

#include <array>
#include <string_view>

#include "daemon/config/row.h"

namespace hearth::config {

inline constexpr std::array kSections = {
    Section{"server", "Where clients connect, who may, and how the service ends."},
    Section{"engine", "The process that computes, and the device it computes on."},
    Section{"models", "Which models stay where, and for how long."},
    Section{"cache", "What is kept so that it need not be computed again."},
    Section{"log", "What is written to the log."},
    Section{"metrics", "Figures for a monitoring system."},
    Section{"faults",
            "How long the engine may be silent in each phase of its work before it counts as hung "
            "and is replaced. Progress within a phase starts its time anew."},
    Section{"quota.default", "What all connections of one user may have together."},
    Section{"quota.uid.*",
            "The same for one user, by the user's number: [quota.uid.1001]. What is not said here "
            "is as in quota.default."},
    Section{"model.*", "A model that the service publishes under a name: [model.NAME]."},
};

constexpr Row silence(std::string_view key, std::string_view option, std::string_view usual,
                      std::string_view help) {
  return {.key = key,
          .option = option,
          .type = Type::kDuration,
          .usual = usual,
          .least = "1s",
          .most = "1d",
          .takes_effect = TakesEffect::kLive,
          .help = help};
}

constexpr Row of_one_user(Row row, std::string_view key) {
  row.key = key;
  row.option = "";
  row.usual = "";
  return row;
}

inline constexpr std::array kQuotas = {
    Row{.key = "quota.default.connections",
        .option = "--user-connections",
        .type = Type::kInteger,
        .usual = "128",
        .least = "1",
        .most = "65536",
        .takes_effect = TakesEffect::kLive,
        .help = "Connections."},
    Row{.key = "quota.default.open_requests",
        .option = "--user-requests",
        .type = Type::kInteger,
        .usual = "512",
        .least = "1",
        .most = "1000000",
        .takes_effect = TakesEffect::kLive,
        .help = "Requests under way and waiting."},
    Row{.key = "quota.default.arenas",
        .option = "--user-arenas",
        .type = Type::kInteger,
        .usual = "256",
        .least = "1",
        .most = "1000000",
        .takes_effect = TakesEffect::kLive,
        .help = "Pieces of shared memory."},
    Row{.key = "quota.default.memory",
        .option = "--user-memory",
        .type = Type::kSize,
        .usual = "auto",
        .least = "1MiB",
        .most = "16TiB",
        .takes_effect = TakesEffect::kLive,
        .help = "Shared memory. auto: half of the RAM."},
    Row{.key = "quota.default.tensors",
        .option = "--user-tensors",
        .type = Type::kInteger,
        .usual = "8192",
        .least = "1",
        .most = "1000000",
        .takes_effect = TakesEffect::kLive,
        .help = "Pictures and other tensors in requests and results."},
};

inline constexpr std::array kTable = {
    Row{.key = "server.socket",
        .option = "--socket",
        .usual = "auto",
        .help = "Path of the socket. auto: $XDG_RUNTIME_DIR/hearth/hearth.sock, or "
                "/run/hearth/hearth.sock where there is no such folder. A socket that systemd "
                "passes goes before it."},
    Row{.key = "server.allowed_users",
        .option = "--allow-uid",
        .type = Type::kUsers,
        .takes_effect = TakesEffect::kLive,
        .help = "Serve these user ids only. None: whoever may open the socket. Open connections "
                "stay."},
    Row{.key = "server.admins",
        .option = "--admin-uid",
        .type = Type::kUsers,
        .takes_effect = TakesEffect::kLive,
        .help = "User ids of administrators, besides root and the user who runs the service."},
    Row{.key = "server.admin_group",
        .option = "--admin-group",
        .takes_effect = TakesEffect::kLive,
        .help = "Members of this group are administrators. A name, or a number; empty: no group."},
    Row{.key = "server.drain",
        .option = "--drain",
        .type = Type::kDuration,
        .usual = "1500ms",
        .least = "0s",
        .most = "1h",
        .takes_effect = TakesEffect::kLive,
        .help = "How long open requests may take when the service is told to stop."},
    Row{.key = "server.heartbeat",
        .option = "--heartbeat",
        .type = Type::kDuration,
        .usual = "10s",
        .least = "0s",
        .most = "1h",
        .help = "Silence after which a client with open requests is pinged. 0: never."},

    Row{.key = "engine.program",
        .option = "--worker",
        .usual = "auto",
        .help = "Path of the engine's program. auto: hearth-worker beside hearthd."},
    Row{.key = "engine.device",
        .option = "--device",
        .type = Type::kChoice,
        .usual = "auto",
        .choices = "auto|cpu|cuda",
        .help = "What to compute on. auto: the GPU if there is one."},
    Row{.key = "engine.threads",
        .option = "--threads",
        .type = Type::kInteger,
        .usual = "0",
        .least = "0",
        .most = "1024",
        .help = "Threads to compute with. 0: all processors."},
    Row{.key = "engine.slots",
        .option = "--slots",
        .type = Type::kInteger,
        .usual = "8",
        .least = "1",
        .most = "16",
        .help = "Requests that are computed at once."},
    Row{.key = "engine.memory",
        .option = "--memory",
        .type = Type::kSize,
        .usual = "auto",
        .help = "Device memory that models may take together. auto: 75 % of the RAM, or a GPU's "
                "memory less 6 % and at least 1 GiB."},
    Row{.key = "engine.keep_clocks",
        .option = "--keep-clocks",
        .type = Type::kDuration,
        .usual = "30s",
        .least = "0s",
        .most = "1d",
        .help = "How long a GPU is kept awake after its last request. 0: not at all."},
    Row{.key = "engine.restart_pause",
        .option = "--restart-pause",
        .type = Type::kDuration,
        .usual = "5s",
        .least = "100ms",
        .most = "1h",
        .takes_effect = TakesEffect::kLive,
        .help = "The longest pause before an engine that was lost is started again."},
    Row{.key = "engine.restart_budget",
        .option = "--restart-budget",
        .type = Type::kInteger,
        .usual = "3",
        .least = "0",
        .most = "255",
        .takes_effect = TakesEffect::kLive,
        .help = "How often the engine may end within ten minutes and be started again; then it "
                "rests for ten minutes. Ends that are a quarantined model's fault do not count. "
                "0: any number."},
    Row{.key = "engine.fake",
        .option = "--fake",
        .type = Type::kFlag,
        .usual = "false",
        .help = "Also serve the family of models that tests use."},

    Row{.key = "models.ember",
        .option = "--no-ember",
        .type = Type::kFlag,
        .usual = "true",
        .help = "Publish the embedded model."},
    Row{.key = "models.keep_alive",
        .option = "--keep-alive",
        .type = Type::kDuration,
        .usual = "0s",
        .least = "0s",
        .most = "30d",
        .takes_effect = TakesEffect::kLive,
        .help = "How long an idle model stays on the device. 0: until its room is needed."},
    Row{.key = "models.warm_memory",
        .option = "--warm-memory",
        .type = Type::kSize,
        .usual = "auto",
        .takes_effect = TakesEffect::kLive,
        .help = "Pinned memory in which models rest that left a GPU. 0: none rests. auto: 25 % of "
                "the RAM, at most 8 GiB. With less than before, models that rest stay where they "
                "are, and no others come until there is room."},

    Row{.key = "cache.results",
        .option = "--result-cache",
        .type = Type::kSize,
        .usual = "64MiB",
        .takes_effect = TakesEffect::kLive,
        .help = "Memory for answers that are asked for again. 0: none is kept."},
    Row{.key = "cache.folder",
        .option = "--cache-dir",
        .usual = "auto",
        .help = "Where rounded weights are kept, so that a model is rounded once. Empty: nowhere. "
                "auto: weights in $CACHE_DIRECTORY, $XDG_CACHE_HOME/hearth or ~/.cache/hearth."},
    Row{.key = "cache.size",
        .option = "--cache-size",
        .type = Type::kSize,
        .usual = "64GiB",
        .takes_effect = TakesEffect::kNextLoad,
        .help = "What rounded weights may take on disk."},
    Row{.key = "cache.keep_free",
        .option = "--cache-keep-free",
        .type = Type::kSize,
        .usual = "10GiB",
        .takes_effect = TakesEffect::kNextLoad,
        .help = "What rounded weights leave free of the disk that they are on. Those that would "
                "leave less are not kept, and the log says so."},

    Row{.key = "log.level",
        .option = "--log-level",
        .type = Type::kChoice,
        .usual = "info",
        .choices = "debug|info|warning|error",
        .takes_effect = TakesEffect::kLive,
        .help = "The least severe lines that are logged. The engine follows at its next start."},
    Row{.key = "log.format",
        .option = "--log-format",
        .type = Type::kChoice,
        .usual = "auto",
        .choices = "auto|text|json|journal",
        .help = "text: lines for people; json: one object a line; journal: systemd's journal with "
                "its fields. auto: the journal if standard error leads there, else text."},
    Row{.key = "log.prompts",
        .option = "--log-prompts",
        .type = Type::kFlag,
        .usual = "false",
        .takes_effect = TakesEffect::kLive,
        .help = "Also log the text of every prompt."},

    Row{.key = "metrics.file",
        .option = "--metrics-file",
        .takes_effect = TakesEffect::kLive,
        .help = "A file that is rewritten every few seconds with all metrics, for a collector of "
                "text files. Empty: none."},

    silence("faults.attach", "--silence-attach", "30s", "To recognise a model from its files."),
    silence("faults.load", "--silence-load", "3min", "To load a model, or to let one go."),
    silence("faults.preprocess", "--silence-preprocess", "30s",
            "To make a request ready for the device."),
    silence("faults.vision", "--silence-vision", "1min", "To look at a picture."),
    silence("faults.prefill", "--silence-prefill", "1min", "To read a piece of a prompt."),
    silence("faults.decode", "--silence-decode", "30s", "To write one more token."),
    silence("faults.beats", "--silence-beats", "10s",
            "To give any sign of life, whatever it does."),
    Row{.key = "faults.cpu_factor",
        .option = "--silence-cpu-factor",
        .type = Type::kInteger,
        .usual = "10",
        .least = "1",
        .most = "1000",
        .takes_effect = TakesEffect::kLive,
        .help = "How many times as long vision, prefill and decode may take on a CPU."},

    kQuotas[0],
    kQuotas[1],
    kQuotas[2],
    kQuotas[3],
    kQuotas[4],
    of_one_user(kQuotas[0], "quota.uid.*.connections"),
    of_one_user(kQuotas[1], "quota.uid.*.open_requests"),
    of_one_user(kQuotas[2], "quota.uid.*.arenas"),
    of_one_user(kQuotas[3], "quota.uid.*.memory"),
    of_one_user(kQuotas[4], "quota.uid.*.tensors"),

    Row{.key = "model.*.path",
        .option = "--model",
        .help = "Its folder. On the command line: --model NAME=FOLDER, any number of times."},
    Row{.key = "model.*.dtype",
        .type = Type::kChoice,
        .choices = "auto|float32|bfloat16|float8|int8|int4",
        .help = "How its weights are held. Without it: auto, as its files say."},
    Row{.key = "model.*.pin",
        .type = Type::kFlag,
        .help = "true: once loaded, it does not leave the device to make room or for being idle."},
};

// Where in the table the row without a pattern is that has this key; its size: there is none. A
// number, because gcc 12 with a sanitizer cannot compare pointers into the table when it compiles.
constexpr std::size_t index_of(std::string_view key) {
  for (std::size_t i = 0; i < kTable.size(); ++i)
    if (kTable[i].key == key && !is_pattern(kTable[i])) return i;
  return kTable.size();
}

}  // namespace hearth::config
