// What of the broker's core survives an upgrade: one list of fields for every type, used to save
// and to load.
//
// To add a field to one of these types: name it in the binding of its list, at its place (the
// compiler counts, and refuses a list that is too short, but cannot see two names that changed
// places: a state recorded earlier does, in broker_handover_format_test), and in HANDOVER's names
// if it survives. Raise kFormat (format.h). To add a type with private members: `friend struct
// handover::Access;` and a list here. Plain values, containers, messages, shared descriptors and
// optionals of all these need nothing else. What is not saved is named in a comment, with the
// reason.
//
// A type's list binds ALL its members in the order of their declaration:
//   auto& [id, name, ready] = value;     // all of them, or it does not compile
//   HANDOVER(archive, id, name);         // those that survive; `ready` is found out again
#pragma once

#include <algorithm>
#include <concepts>

#include "daemon/broker/core.h"
#include "daemon/broker/handover/archive.h"

namespace hearth::broker::handover {

#define HANDOVER(archive, ...) (archive).fields(#__VA_ARGS__, __VA_ARGS__)

template <class T, class U>
concept Is = std::same_as<std::remove_const_t<T>, U>;

struct Access {
  // --- contract values that are no messages ---
  static void list(auto& archive, Is<contract::Quota> auto& value) {
    auto& [connections, open_requests, arenas, arena_bytes, tensors] = value;
    HANDOVER(archive, connections, open_requests, arenas, arena_bytes, tensors);
  }
  static void list(auto& archive, Is<contract::MemoryPlan> auto& value) {
    auto& [weights_bytes, cache_bytes, scratch_bytes, image_bytes] = value;
    HANDOVER(archive, weights_bytes, cache_bytes, scratch_bytes, image_bytes);
  }
  static void list(auto& archive, Is<contract::CacheEntry> auto& value) {
    auto& [model, name, entries, bytes, budget_bytes, hits, misses] = value;
    HANDOVER(archive, model, name, entries, bytes, budget_bytes, hits, misses);
  }
  static void list(auto& archive, Is<Error> auto& value) {
    auto& [code, what, hint] = value;
    HANDOVER(archive, code, what, hint);
  }

  // --- clients ---
  static void list(auto& archive, Is<Peer> auto& value) {
    auto& [pid, uid, groups] = value;
    HANDOVER(archive, pid, uid, groups);
  }
  static void list(auto& archive, Is<Caller> auto& value) {
    auto& [connection, request_id, serial] = value;
    HANDOVER(archive, connection, request_id, serial);
  }
  static void list(auto& archive, Is<OpenRequest> auto& value) {
    // ticket, deadline: nothing is off the loop when a state is saved (net/upgrade.h)
    auto& [kind, serial, model, job, tensors, arena_bytes, ticket, deadline, opened, operation,
           observed_model, receipt] = value;
    HANDOVER(archive, kind, serial, model, job, tensors, arena_bytes, opened, operation,
             observed_model, receipt);
  }
  static void list(auto& archive, Is<Client> auto& value) {
    // port: its session sets it. ended: such a client is removed before anything else happens
    auto& [id, port, peer, name, greeted, ended, connected, hello_deadline, unknown_in_a_row, heard,
           pinged, stalled, open, arenas, out_arenas, known_to_worker, arenas_asked, arena_bytes,
           served, failed, generated_tokens] = value;
    HANDOVER(archive, id, peer, name, greeted, connected, hello_deadline, unknown_in_a_row, heard,
             pinged, stalled, open, arenas, out_arenas, known_to_worker, arenas_asked, arena_bytes,
             served, failed, generated_tokens);
  }
  static void list(auto& archive, Is<Accounts> auto& value) {
    auto& [usual, quotas, held] = value;  // usual, quotas: of the configuration
    HANDOVER(archive, held);
  }

  // --- shared memory ---
  static void list(auto& archive, Is<Payer> auto& value) {
    auto& [connection, user] = value;
    HANDOVER(archive, connection, user);
  }
  static void list(auto& archive, Is<Arena> auto& value) {
    auto& [id, payer, nbytes, fd, jobs, dropped, attached] = value;
    HANDOVER(archive, id, payer, nbytes, fd, jobs, dropped, attached);
  }
  static void list(auto& archive, Is<Arenas> auto& value) {
    auto& [arenas, total_bytes] = value;
    HANDOVER(archive, arenas, total_bytes);
  }
  static void list(auto& archive, Is<OutArena> auto& value) {
    auto& [id, worker_id, payer, nbytes, orphaned, held] = value;
    HANDOVER(archive, id, worker_id, payer, nbytes, orphaned, held);
  }
  static void list(auto& archive, Is<OutArenas> auto& value) {
    auto& [arenas, at_worker, total_bytes, results, result_bytes] = value;
    HANDOVER(archive, arenas, at_worker, total_bytes, results, result_bytes);
  }

  // --- models ---
  static void list(auto& archive, Is<Numerics> auto& value) {
    auto& [dtype, head, attention] = value;
    HANDOVER(archive, dtype, head, attention);
  }
  static void list(auto& archive, Is<WeightsCache::File> auto& value) {
    auto& [key, fd, writes] = value;
    HANDOVER(archive, key, fd, writes);
  }
  static void list(auto& archive, Is<Model> auto& value) {
    // examination, ticket, examine_deadline: as with OpenRequest
    auto& [id, name, numerics, identity, labels, files, weights_file, is_public, pinned, family,
           memory, warnings, arithmetic, stage, call, load_cancelled, leaves_when_idle, tried_again,
           examine_soon, recheck, examination, ticket, examine_deadline, load_began, last_used,
           load_ms, warm_load, image_bytes, resident_bytes, loads, answered, holders, waiting_jobs,
           running_jobs, offerers, loaders, unloaders] = value;
    HANDOVER(archive, id, name, numerics, identity, labels, files, weights_file, is_public, pinned,
             family, memory, warnings, arithmetic, stage, call, load_cancelled, leaves_when_idle,
             tried_again, examine_soon, recheck, load_began, last_used, load_ms, warm_load,
             image_bytes, resident_bytes, loads, answered, holders, waiting_jobs, running_jobs,
             offerers, loaders, unloaders);
  }
  static void list(auto& archive, Is<Models> auto& value) {
    auto& [models, erased] = value;  // erased: dropped at the end of every input
    HANDOVER(archive, models);
  }
  static void list(auto& archive, Is<ModelCall> auto& value) {
    auto& [op, unload, model] = value;
    HANDOVER(archive, op, unload, model);
  }
  static void list(auto& archive, Is<FreeCall> auto& value) {
    auto& [caller, awaited, freed] = value;
    HANDOVER(archive, caller, awaited, freed);
  }
  static void list(auto& archive, Is<CountCall> auto& value) {
    auto& [caller, model, body, user, is_orphan] = value;
    HANDOVER(archive, caller, model, body, user, is_orphan);
  }
  static void list(auto& archive, Is<Quarantine::Record> auto& value) {
    auto& [half_deaths, last] = value;
    HANDOVER(archive, half_deaths, last);
  }
  static void list(auto& archive, Is<Quarantine> auto& value) {
    auto& [records] = value;
    HANDOVER(archive, records);
  }

  // --- jobs ---
  static void list(auto& archive, Is<RequestKey> auto& value) {
    auto& [user, word] = value;
    HANDOVER(archive, user, word);
  }
  static void list(auto& archive, Is<Job> auto& value) {
    auto& [id, type, caller, model, body, arenas, priority, cost_tokens, running, slots, held_slots,
           cancelled, arrived, dispatched, first_token, tried_again, has_spoken, tokens, load_ms,
           warm_load, evicted, told_place, key, result_key, fingerprint, said, left_until] = value;
    HANDOVER(archive, id, type, caller, model, body, arenas, priority, cost_tokens, running, slots,
             held_slots, cancelled, arrived, dispatched, first_token, tried_again, has_spoken,
             tokens, load_ms, warm_load, evicted, told_place, key, result_key, fingerprint, said,
             left_until);
  }
  static void list(auto& archive, Is<FairQueue::Waiting> auto& value) {
    auto& [job, client, priority, cost_tokens] = value;
    HANDOVER(archive, job, client, priority, cost_tokens);
  }
  static void list(auto& archive, Is<FairQueue::Lane> auto& value) {
    auto& [jobs, credit, credited, turn] = value;  // turn: point_again()
    HANDOVER(archive, jobs, credit, credited);
  }
  static void list(auto& archive, Is<FairQueue::Class> auto& value) {
    auto& [lanes, turns, by_age, round] = value;
    HANDOVER(archive, lanes, turns, by_age, round);
  }
  static void list(auto& archive, Is<FairQueue::Place> auto& value) {
    auto& [waiting, arrival, since, age] = value;  // age: point_again()
    HANDOVER(archive, waiting, arrival, since);
  }
  static void list(auto& archive, Is<FairQueue> auto& value) {
    // rules: of the configuration
    auto& [rules, classes, places, last_arrival, first_arrival] = value;
    HANDOVER(archive, classes, places, last_arrival, first_arrival);
    if constexpr (std::remove_reference_t<decltype(archive)>::kLoads) point_again(archive, value);
  }
  // The iterators from lanes and places into the lists of turns and ages.
  static void point_again(auto& archive, FairQueue& queue) {
    for (auto& in : queue.classes_) {
      for (auto turn = in.turns.begin(); turn != in.turns.end(); ++turn) {
        const auto lane = in.lanes.find(*turn);
        if (lane == in.lanes.end()) return archive.refuse("a turn in the queue is nobody's");
        lane->second.turn = turn;
      }
      for (auto age = in.by_age.begin(); age != in.by_age.end(); ++age) {
        const auto place = queue.places_.find(*age);
        if (place == queue.places_.end()) return archive.refuse("a job in the queue is unknown");
        place->second.age = age;
      }
    }
  }

  // --- answers that are kept ---
  static void list(auto& archive, Is<Recent::Running> auto& value) {
    auto& [job, fingerprint] = value;
    HANDOVER(archive, job, fingerprint);
  }
  static void list(auto& archive, Is<Recent::Answer> auto& value) {
    auto& [fingerprint, body] = value;
    HANDOVER(archive, fingerprint, body);
  }
  static void list(auto& archive, Is<Recent::Kept> auto& value) {
    auto& [key, answer, until] = value;
    HANDOVER(archive, key, answer, until);
  }
  static void list(auto& archive, Is<Recent::User> auto& value) {
    auto& [kept, bytes] = value;
    HANDOVER(archive, kept, bytes);
  }
  static void list(auto& archive, Is<Recent> auto& value) {
    auto& [rules, running, kept, numbers, users, last_number, bytes] = value;
    HANDOVER(archive, running, kept, numbers, users, last_number, bytes);
  }
  static void list(auto& archive, Is<ResultCache::Key> auto& value) {
    auto& [user, model, word, fingerprint] = value;
    HANDOVER(archive, user, model, word, fingerprint);
  }
  static void list(auto& archive, Is<ResultCache::Kept> auto& value) {
    auto& [key, body] = value;
    HANDOVER(archive, key, body);
  }
  static void list(auto& archive, Is<ResultCache::User> auto& value) {
    auto& [kept, bytes] = value;
    HANDOVER(archive, kept, bytes);
  }
  static void list(auto& archive, Is<ResultCache> auto& value) {
    auto& [budget_bytes, users, by_key, bytes, hits, misses] = value;
    HANDOVER(archive, users, bytes, hits, misses);
    if constexpr (std::remove_reference_t<decltype(archive)>::kLoads) {
      by_key.clear();
      for (auto& [id, user] : users)
        for (auto kept = user.kept.begin(); kept != user.kept.end(); ++kept)
          by_key.emplace(kept->key, kept);
    }
  }

  // --- the whole ---
  static void list(auto& archive, Is<Supervisor> auto& value) {
    auto& [config, worker, timer, state, pid, lost, failed_starts, back_off, restart_delay,
           ready_at, deadline] = value;
    HANDOVER(archive, state, pid, lost, failed_starts, back_off, restart_delay, ready_at, deadline);
  }
  static void list(auto& archive, Is<Core> auto& value) {
    // config_values, config, worker, timer, off_loop: the process's own. reload, reload_again: off
    // the loop; the next process reads the files in any case. liveness: Broker::resume() begins
    // anew
    auto& [config_values, config, worker, timer, off_loop, started, started_unix_ms, clients,
           accounts, arenas, out_arenas, models, jobs, model_calls, counts, free_calls, caches,
           queue, recent, results, quarantine, supervisor, telemetry, engine, left_jobs, places_due,
           places_next, next_heartbeat, running, held_slots, arena_bytes_asked, served, failed,
           tokens, draining, suspension, reload, reload_again, stop_wanted, stopping, stopped,
           stop_reason, drain_deadline, last_connection, last_job, last_arena, last_request,
           last_examination, engine_refusal, engine_refused, liveness, restarts, verdict,
           last_words, ladder, upgrades, upgrade] = value;
    HANDOVER(archive, started, started_unix_ms, clients, accounts, arenas, out_arenas, models, jobs,
             model_calls, counts, free_calls, caches, queue, recent, results, quarantine,
             supervisor, engine, left_jobs, places_due, places_next, next_heartbeat, running,
             held_slots, arena_bytes_asked, served, failed, tokens, telemetry, draining, suspension,
             stop_wanted, stopping, stopped, stop_reason, drain_deadline, last_connection, last_job,
             last_arena, last_request, last_examination, engine_refusal, engine_refused, restarts,
             verdict, last_words, ladder, upgrades, upgrade);
  }
  static void list(auto& archive, Is<RestartBudget::End> auto& value) {
    auto& [at, suspect] = value;
    HANDOVER(archive, at, suspect);
  }
  static void list(auto& archive, Is<RestartBudget> auto& value) {
    auto& [ends] = value;
    HANDOVER(archive, ends);
  }
  static void list(auto& archive, Is<Verdict> auto& value) {
    auto& [what, suspect] = value;
    HANDOVER(archive, what, suspect);
  }
  static void list(auto& archive, Is<LadderCounts> auto& value) {
    auto& [lacks, evictions, retries, failures] = value;
    HANDOVER(archive, lacks, evictions, retries, failures);
  }
  static void list(auto& archive, Is<TokenRate::Step> auto& value) {
    auto& [number, tokens] = value;
    HANDOVER(archive, number, tokens);
  }
  static void list(auto& archive, Is<TokenRate> auto& value) {
    auto& [steps, total] = value;
    HANDOVER(archive, steps, total);
  }
  // --- what is remembered (telemetry.h) ---
  static void list(auto& archive, Is<contract::DeviceState> auto& value) {
    auto& [source, clock_mhz, memory_clock_mhz, power_w, power_limit_w, temperature_c, throttled_by,
           memory_used_bytes, memory_total_bytes, held_bytes, torch_used_bytes, torch_kept_bytes] =
        value;
    HANDOVER(archive, source, clock_mhz, memory_clock_mhz, power_w, power_limit_w, temperature_c,
             throttled_by, memory_used_bytes, memory_total_bytes, held_bytes, torch_used_bytes,
             torch_kept_bytes);
  }
  static void list(auto& archive, Is<contract::Receipt> auto& value) {
    auto& [queue_ms, load_ms, warm_load, preprocess_ms, vision_ms, prefill_ms, decode_ms,
           first_token_ms, total_ms, prompt_tokens, image_tokens, cached_tokens, cached_pictures,
           generated_tokens, thinking_tokens, tokens_per_second, slowest_token_ms, stalls,
           bytes_per_token, bandwidth_share, pinned, replayed, model, model_loads, device, dtype,
           device_state, request, evicted] = value;
    HANDOVER(archive, queue_ms, load_ms, warm_load, preprocess_ms, vision_ms, prefill_ms, decode_ms,
             first_token_ms, total_ms, prompt_tokens, image_tokens, cached_tokens, cached_pictures,
             generated_tokens, thinking_tokens, tokens_per_second, slowest_token_ms, stalls,
             bytes_per_token, bandwidth_share, pinned, replayed, model, model_loads, device, dtype,
             device_state, request, evicted);
  }
  static void list(auto& archive, Is<contract::RequestRecord> auto& value) {
    auto& [request, at_ms, kind, name, client, connection, pid, uid, code, what, is_cold, receipt] =
        value;
    HANDOVER(archive, request, at_ms, kind, name, client, connection, pid, uid, code, what, is_cold,
             receipt);
  }
  static void list(auto& archive, Is<contract::ErrorEntry> auto& value) {
    auto& [at_ms, code, what, model, client] = value;
    HANDOVER(archive, at_ms, code, what, model, client);
  }
  static void list(auto& archive, Is<Records> auto& value) {
    auto& [records, users, bytes] = value;  // users: of the records
    HANDOVER(archive, records, bytes);
    if constexpr (std::remove_reference_t<decltype(archive)>::kLoads) value.count_again();
  }
  static void list(auto& archive, Is<ErrorLog::Entry> auto& value) {
    auto& [user, error] = value;
    HANDOVER(archive, user, error);
  }
  static void list(auto& archive, Is<ErrorLog> auto& value) {
    auto& [entries] = value;
    HANDOVER(archive, entries);
  }
  static void list(auto& archive, Is<MetricSet::Sample> auto& value) {
    auto& [sum, buckets] = value;
    HANDOVER(archive, sum, buckets);
  }
  // A program with other metrics begins to count anew: they are told apart by their place alone.
  static void list(auto& archive, Is<MetricSet> auto& value) {
    auto& [all] = value;
    std::vector<MetricSet::Series> series(all.begin(), all.end());
    HANDOVER(archive, series);
    if constexpr (std::remove_reference_t<decltype(archive)>::kLoads)
      if (series.size() == all.size()) std::copy(series.begin(), series.end(), all.begin());
  }
  static void list(auto& archive, Is<LabelWords> auto& value) {
    auto& [words] = value;
    HANDOVER(archive, words);
  }
  static void list(auto& archive, Is<Telemetry> auto& value) {
    // metrics_writing, metrics_late: off the loop. metrics_due, metrics_failing, stalled_since:
    // begin anew
    auto& [records, errors, counts, model_words, device, device_at, evicted_for, metrics_due,
           metrics_writing, metrics_late, metrics_failing, stalled_since] = value;
    HANDOVER(archive, records, errors, counts, model_words, device, device_at, evicted_for);
  }
  static void list(auto& archive, Is<Draining> auto& value) {
    auto& [is_on, is_done, then_stop, deadline, callers] = value;
    HANDOVER(archive, is_on, is_done, then_stop, deadline, callers);
  }
  static void list(auto& archive, Is<Suspension> auto& value) {
    auto& [phase, deadline, wakes_when_ended, callers] = value;
    HANDOVER(archive, phase, deadline, wakes_when_ended, callers);
  }
  static void list(auto& archive, Is<Upgrade> auto& value) {
    auto& [is_wanted, askers] = value;
    HANDOVER(archive, is_wanted, askers);
  }
};

template <class Archive, class T>
void fields_of(Archive& archive, T& value) {
  if constexpr (requires { T::list(archive, value); })
    T::list(archive, value);
  else
    Access::list(archive, value);
}

}  // namespace hearth::broker::handover
