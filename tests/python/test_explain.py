"""Why a request was slow, told from made-up records."""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import sys

import pytest

from hearth import explain, messages, traces
from hearth.receipts import PHASES

BEGAN_MS = 1_700_000_000_000
USUAL = {
    "queue_ms": 1.0, "preprocess_ms": 10.0, "vision_ms": 50.0, "prefill_ms": 40.0,
    "decode_ms": 1000.0, "total_ms": 1110.0, "prompt_tokens": 300, "image_tokens": 256,
    "cached_tokens": 200, "generated_tokens": 100, "tokens_per_second": 99.0, "dtype": "int8",
}  # fmt: skip


def record(number: int, *, name="Qwen", kind="generate", code="", what="", **receipt):
    """Ten seconds after the one before it."""
    made = {**USUAL, **receipt}
    if "total_ms" not in receipt:
        made["total_ms"] = 9.0 + sum(made.get(f"{phase}_ms", 0.0) for phase in PHASES)
    return messages.RequestRecord(
        request=number, at_ms=BEGAN_MS + 10_000 * number, kind=kind, name=name,
        client="main.py (hearth 1.0)", connection=number % 3, pid=40, uid=1000, code=code,
        what=what,
        is_cold=made.get("load_ms", 0.0) > 0, receipt=messages.Receipt(request=number, **made),
    )  # fmt: skip


def history(n=9):
    return [record(number) for number in range(1, n + 1)]


def causes_of(slow, others=None):
    found = explain.explain(slow, history() if others is None else others)
    assert found.verdict in ("slow", "no history yet"), found
    return "\n".join(found.causes)


def test_what_was_usual_has_no_causes():
    found = explain.explain(record(20, decode_ms=1100.0), history())
    assert (found.verdict, found.causes, found.alike) == ("usual", [], 9)
    assert found.usual_ms == pytest.approx(1110)
    assert "usually 1.11 s (median of 9 like it): usual" in explain.describe(found)


def test_a_request_is_not_compared_with_itself():
    slow = record(20, decode_ms=9000.0)
    assert explain.explain(slow, [*history(), slow]).alike == 9


@pytest.mark.parametrize("n", [0, 4])
def test_too_few_are_no_history(n):
    found = explain.explain(record(20, decode_ms=9000.0), history(n))
    assert (found.verdict, found.alike, found.usual_ms) == ("no history yet", n, None)
    assert f"no history yet: {n} like it, 5 are needed" in explain.describe(found)
    assert "100 tokens took 9.00 s" in "\n".join(found.causes)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Other"},
        {"kind": "encode"},
        {"dtype": "bfloat16"},
        {"prompt_tokens": 1200},
        {"generated_tokens": 20},
        {"code": "worker_lost"},
        {"replayed": True},
    ],
)
def test_only_what_is_alike_is_history(other):
    others = [record(number, **other) for number in range(1, 10)]
    assert explain.explain(record(20), others).alike == 0


def test_waiting_names_those_who_were_at_work():
    slow = record(20, queue_ms=3000.0)
    busy = record(19, decode_ms=11_000.0)
    assert "it waited 3.00 s behind 1 other request (19 of main.py)" in causes_of(
        slow, [*history(), busy]
    )


def test_waiting_behind_nobody_is_for_memory_or_an_equal_prompt():
    assert "for memory or for an equal prompt" in causes_of(record(20, queue_ms=3000.0))


def test_a_cold_model_names_who_had_pushed_it_out_and_who_left_for_it():
    pusher = record(15, name="Big", load_ms=900.0, evicted=["Qwen", "Small"])
    slow = record(20, load_ms=5000.0, evicted=["Big"])
    told = causes_of(slow, [*history(), pusher])
    assert "its model was cold: 5.00 s; Big left for it" in told
    assert "Big of request 15 (main.py) had pushed it out" in told
    assert "back from pinned memory" in causes_of(
        record(21, load_ms=400.0, warm_load=True, total_ms=1900.0)
    )


def test_a_prompt_that_was_not_cached():
    told = causes_of(record(20, prefill_ms=2000.0, cached_tokens=0))
    assert (
        "the prompt took 2.00 s: 300 of its 300 tokens were not cached, usually 100 are not" in told
    )


def test_pictures_that_were_not_cached():
    others = [record(number, cached_pictures=1) for number in range(1, 10)]
    told = causes_of(record(20, vision_ms=2000.0), others)
    assert "vision took 2.00 s for 256 tokens of pictures" in told
    assert "0 were cached and usually 1 are" in told


def test_a_device_that_was_held_back():
    cool = messages.DeviceState(source="nvml", clock_mhz=1980)
    hot = messages.DeviceState(
        source="nvml", clock_mhz=1200, throttled_by=["power_cap"], power_w=299.6,
        power_limit_w=300.0, temperature_c=83,
    )  # fmt: skip
    others = [record(number, device_state=cool) for number in range(1, 10)]
    told = causes_of(record(20, decode_ms=2700.0, tokens_per_second=36.7, device_state=hot), others)
    assert "100 tokens took 2.70 s: 36.7 a second, usually 99.0" in told
    assert "held down by power_cap (300 of 300 W) at 83 °C" in told
    assert "the clock was 1200 MHz, usually 1980" in told


def test_others_that_shared_the_engine():
    slow = record(20, decode_ms=5000.0)
    beside = [record(n, decode_ms=20_000.0) for n in (18, 19)]
    told = causes_of(slow, [*history(), *beside])
    assert (
        "it shared the engine with 2 other requests (18 of main.py, 19 of main.py), usually with 0"
        in told
    )


def test_stalls_name_the_slowest_step():
    told = causes_of(record(20, decode_ms=5000.0, stalls=3, slowest_token_ms=1200.0))
    assert "3 steps stalled, the slowest took 1.20 s" in told


def test_time_between_the_processes():
    assert "passed between the processes" in causes_of(record(20, total_ms=3000.0))


def test_the_costliest_cause_comes_first_and_small_ones_are_left_out():
    told = causes_of(record(20, queue_ms=400.0, prefill_ms=3000.0, vision_ms=75.0)).splitlines()
    assert told[0].startswith("the prompt took") and told[-1].startswith("it waited")
    assert not any(line.startswith("vision") for line in told)


def test_an_error_is_told_with_what_is_known():
    failed = record(20, code="worker_lost", what="The engine process ended.", queue_ms=4000.0)
    found = explain.explain(failed, history())
    assert found.verdict == "failed"
    assert found.causes[0] == "it ended with worker_lost: The engine process ended."
    assert "worker_lost" in explain.describe(found)


def test_an_answer_given_again_is_said_to_be_one():
    found = explain.explain(record(20, replayed=True), history())
    assert (found.verdict, found.causes) == ("replayed", [])


def test_the_slowest_of_its_kind_is_picked_not_the_longest():
    long = [record(number, name="Big", decode_ms=60_000.0) for number in range(30, 40)]
    slow = record(20, decode_ms=9000.0)
    records = [*long, slow, *history()]
    assert explain.pick("slow", records) is slow
    assert explain.pick("last", records).request == 39
    assert explain.pick("3", records).request == 3
    assert explain.pick("4711", records) is None and explain.pick("last", []) is None


@contextlib.contextmanager
def calls_at_most(most: int):
    """Counts calls instead of seconds; what exceeds them ends at once."""
    count = 0

    def counted(_frame, event, _of):
        nonlocal count
        count += event in ("call", "c_call")
        if count > most:
            sys.setprofile(None)
            raise AssertionError(f"more than {most} calls")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        yield
    finally:
        sys.setprofile(before)


def test_as_many_alike_as_the_service_keeps_are_not_compared_all_with_all():
    records = history(4096)
    slow = record(5000, preprocess_ms=900.0, vision_ms=900.0, prefill_ms=900.0, decode_ms=9000.0)
    with calls_at_most(500 * len(records)):  # all with all: 4096 times as many as there are
        assert explain.pick("slow", [slow, *records]) is slow
        found = explain.explain(slow, [slow, *records])
    assert (found.verdict, found.alike) == ("slow", 4096)


@pytest.mark.parametrize("seed", range(5))
def test_the_slowest_is_the_one_that_comparing_all_with_all_finds(seed):
    dice = random.Random(seed)
    records = [
        record(
            number, name=dice.choice("AB"), total_ms=dice.choice([100.0, 130.0, 9000.0 / number])
        )
        for number in range(1, 30)
    ]  # fmt: skip

    def slowness(one):
        alike = [o.receipt.total_ms for o in records if o is not one and o.name == one.name]
        total_ms, usual_ms = one.receipt.total_ms, statistics.median(alike)
        return (total_ms / usual_ms if total_ms - usual_ms > 20 else 1.0, total_ms)

    assert explain.pick("slow", records) is max(records, key=slowness)


@pytest.mark.parametrize("seed", range(5))
def test_company_is_counted_as_comparing_all_with_all_does(seed):
    dice = random.Random(seed)
    records = [
        record(
            number, kind=dice.choice(["generate", "generate", "load"]),
            queue_ms=dice.choice([0.0, 5e3]), total_ms=dice.choice([0.0, 5e3, 10e3, 35e3]),
            replayed=dice.random() < 0.2,
        )
        for number in range(1, 40)
    ]  # fmt: skip
    work = explain._Work(records)
    for one in records:
        within = [o for o in records if explain._works_within(o, *explain._working(one))]
        assert work.beside(one) == len([o for o in within if o is not one])


def test_who_only_waited_shared_the_engine_with_nobody():
    slow = record(20, decode_ms=30_000.0)
    waited = [record(n, code="cancelled", total_ms=5000.0, queue_ms=5000.0) for n in (21, 22)]
    assert "shared the engine" not in causes_of(slow, [*history(), *waited])


def test_the_fields_are_json():
    fields = explain.as_fields(explain.explain(record(20, decode_ms=9000.0), history()))
    again = json.loads(json.dumps(fields))
    assert again["verdict"] == "slow" and again["alike"] == 9
    assert [phase["name"] for phase in again["phases"]] == [*PHASES, "the rest"]


def test_requests_of_one_track_do_not_overlap_and_hold_their_phases():
    records = [record(n, decode_ms=25_000.0) for n in range(1, 8)]
    trace = json.loads(json.dumps(traces.trace_of(records)))
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    requests = [event for event in spans if event["cat"] == "request"]
    assert len(requests) == 7
    for event in requests:
        same = [o for o in requests if (o["pid"], o["tid"]) == (event["pid"], event["tid"])]
        assert not any(
            o is not event
            and o["ts"] < event["ts"] + event["dur"]
            and event["ts"] < o["ts"] + o["dur"]
            for o in same
        )
    for event in spans:
        end = event["ts"] + event["dur"]
        tracks = [o for o in requests if (o["pid"], o["tid"]) == (event["pid"], event["tid"])]
        holder = [o for o in tracks if o["ts"] <= event["ts"] and end <= o["ts"] + o["dur"] + 1e-6]
        assert holder, event
    named = {event["pid"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    assert named == {event["pid"] for event in spans}


def test_a_phase_never_reaches_beyond_its_request():
    broken = record(1, queue_ms=500.0, code="cancelled", total_ms=100.0)
    (request, *phases) = [e for e in traces.trace_of([broken])["traceEvents"] if e["ph"] == "X"]
    assert request["name"] == "generate Qwen: cancelled"
    assert sum(event["dur"] for event in phases) <= request["dur"]
    assert traces.trace_of([])["traceEvents"] == []
