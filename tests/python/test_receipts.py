"""What a receipt says to a person and to a program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hearth import messages, receipts
from hearth.replies import Reply
from server import packed_ids

GIB = 1 << 30
STATE = messages.DeviceState(
    source="nvml",
    clock_mhz=1980,
    memory_clock_mhz=2619,
    power_w=310.4,
    power_limit_w=700.0,
    temperature_c=45,
    memory_used_bytes=30 * GIB,
    memory_total_bytes=80 * GIB,
    held_bytes=12 * GIB,
    torch_used_bytes=GIB,
    torch_kept_bytes=3 * GIB // 2,
)
DEVICE = messages.Device(
    kind="cuda",
    name="A GPU",
    memory_bytes=80 * GIB,
    compute_capability="9.0",
    built_for=["8.0", "9.0"],
    bandwidth_bytes_per_s=2_000_000_000_000,
)
# Nine steps of 10 ms, but for one of 40 ms and one of 16.
STEPS_US = [10_000, 10_000, 10_000, 40_000, 10_000, 10_000, 10_000, 16_000, 10_000]


def receipt(**fields: object) -> messages.Receipt:
    """Of an answer of ten tokens about one picture."""
    made = {
        "queue_ms": 4.0,
        "preprocess_ms": 10.0,
        "vision_ms": 60.0,
        "prefill_ms": 20.0,
        "decode_ms": 126.0,
        "first_token_ms": 95.0,
        "total_ms": 240.0,
        "prompt_tokens": 300,
        "image_tokens": 256,
        "generated_tokens": 10,
        "tokens_per_second": 71.4,
        "slowest_token_ms": 40.0,
        "stalls": 1,
        "bytes_per_token": 3_000_000_000,
        "bandwidth_share": 0.1071,
        "device": "A GPU",
        "dtype": "bfloat16",
        "device_state": STATE,
    }
    return messages.Receipt(**{**made, **fields})


def reply(steps_us: list[int] = STEPS_US, **fields: object) -> Reply:
    times = [0, *steps_us]
    ids = list(range(len(times)))
    return Reply("text", ids, [1], "end_token", receipt(**fields), [], times)


def state(**fields: object) -> messages.DeviceState:
    return messages.DeviceState(**{**STATE.to_fields(), **fields})


def test_a_reply_reads_as_a_block_of_text() -> None:
    assert receipts.describe(reply(), DEVICE).splitlines() == [
        "time          240 ms, first token after 95.0 ms",
        "  queue        4.00 ms    2 %  #",
        "  load         0.00 ms    0 %",
        "  preprocess   10.0 ms    4 %  #",
        "  vision       60.0 ms   25 %  ######",
        "  prefill      20.0 ms    8 %  ##",
        "  decode        126 ms   52 %  #############",
        "  the rest     20.0 ms    8 %  ##",
        "tokens        300 read, 256 of them pictures'",
        "              10 generated, 71.4 a second",
        "steps         9, median 10.0 ms, slowest 40.0 ms",
        "  to 11.0 ms                7  ########################",
        "  to 20.0 ms                1  ###",
        "  over 30.0 ms              1  ### stalled",
        "  ...!...:.",
        "  stalls: token 4 40.0 ms",
        "bandwidth     3.0 GB a step, 214 GB/s: 11 % of the 2.0 TB/s that the memory can give",
        "device        A GPU, bfloat16",
        "              cuda, 80.0 GiB, 2.0 TB/s",
        "              compute capability 9.0; this build has code for 8.0 9.0",
        "              clock 1980 MHz, memory clock 2619 MHz",
        "              power 310 W, limit 700 W, temperature 45 °C",
        "              not throttled (nvml)",
        "memory        30.0 GiB of 80.0 GiB used by all programs, hearth's models hold 12.0 GiB,"
        " libtorch uses 1.0 GiB of the 1.5 GiB it keeps",
        "hint          1 step took over 3 times the median",
    ]


def test_a_phase_of_next_to_nothing_has_no_bar() -> None:
    assert "  vision       0.02 ms    0 %\n" in receipts.describe(receipt(vision_ms=0.02))


def test_absent_numbers_are_said_to_be_absent() -> None:
    text = receipts.describe(messages.Receipt())
    for absent in (
        "device        not named",
        "clock not known, memory clock not known",
        "power not known, limit not known, temperature not known",
        "throttling not known (the service says nothing of the device)",
        "use by all programs not known",
    ):
        assert absent in text
    why = state(source="no libnvidia-ml.so.1 on this machine")
    assert "(no libnvidia-ml.so.1 on this machine)" in receipts.describe(receipt(device_state=why))


def test_a_receipt_alone_knows_no_single_steps() -> None:
    text = receipts.describe(receipt())
    assert "slowest 40.0 ms, 1 stall; the time of each is not known" in text


def test_an_unknown_bandwidth_is_said_to_be_unknown() -> None:
    text = receipts.describe(receipt(bandwidth_share=0.0))
    assert "214 GB/s; what the memory can give is not known" in text
    assert "bandwidth" not in receipts.describe(receipt(bytes_per_token=0))


def test_a_share_above_all_is_explained() -> None:
    text = receipts.describe(receipt(bandwidth_share=2.0))
    assert "200 % of the 107 GB/s that the memory can give, more than all: caches held" in text
    assert "caches held" not in receipts.describe(receipt(bandwidth_share=1.0))


def test_an_encoding_has_no_steps() -> None:
    text = receipts.describe(receipt(generated_tokens=0, first_token_ms=0.0, decode_ms=0.0))
    assert "steps" not in text and "first token" not in text and "bandwidth" not in text


def test_a_kept_answer_cost_only_its_way() -> None:
    text = receipts.describe(reply([], replayed=True))
    assert text.splitlines() == [
        "time          240 ms",
        "tokens        10 tokens, the answer of an earlier equal request",
    ]


@pytest.mark.parametrize(
    ("steps_us", "stalls"),
    [
        ([], []),
        ([5], []),
        ([10, 10, 31], [3]),
        ([10, 10, 30], []),
        ([31, 10, 10, 10, 99], [1, 5]),
        ([31, 10, 10, 99], [4]),
        ([0, 0, 0], []),
    ],
)
def test_stalls_are_named_by_token(steps_us: list[int], stalls: list[int]) -> None:
    assert receipts.steps_of(reply(steps_us)).stalls == stalls


def test_the_upper_of_two_middle_steps_is_the_median_as_in_the_service() -> None:
    assert receipts.steps_of(reply([10, 40, 20, 30])).median_us == 30


def test_more_stalls_than_a_line_holds_are_counted() -> None:
    steps_us = [10_000] * 40 + [50_000] * 11
    line = next(x for x in receipts.describe(reply(steps_us)).splitlines() if "stalls:" in x)
    assert line.count("token") == 8 and line.endswith(" and 3 more")


def test_a_long_answer_fits_its_lines() -> None:
    steps_us = [10_000] * 5000
    steps_us[2500] = 90_000
    (timeline,) = (x for x in receipts.describe(reply(steps_us)).splitlines() if x.endswith("."))
    assert len(timeline) <= 80 and timeline.count("!") == 1


def test_times_travel_as_bytes_too() -> None:
    message = messages.Answer(
        text="", token_ids=b"", token_us=packed_ids(0, 7, 9), stop_reason="end_token"
    )
    assert receipts.token_us_of(message) == [0, 7, 9]


FULL = {"memory_used_bytes": 79 * GIB}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"device_state": state(**FULL)}, "paging suspected"),
        ({"device_state": state(throttled_by=["thermal", "power_cap"])}, "thermal, power_cap"),
        ({"load_ms": 130.0}, "loading"),
        ({"queue_ms": 130.0}, "waiting"),
        ({"total_ms": 600.0}, "between the processes"),
        ({"stalls": 2}, "2 steps"),
    ],
)
def test_what_is_striking_becomes_a_hint(fields: dict[str, object], word: str) -> None:
    (hint,) = receipts.hints(receipt(**{"stalls": 0, **fields}))
    assert word in hint
    assert f"hint          {hint}" in receipts.describe(receipt(**{"stalls": 0, **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"device_state": state(**FULL), "bandwidth_share": 0.5},
        {"device_state": state(**FULL), "bandwidth_share": 0.0},
        {"device_state": state(memory_used_bytes=79 * GIB, memory_total_bytes=None)},
        {"device_state": state(throttled_by=["unknown"])},
        {"load_ms": 200.0, "replayed": True},
    ],
)
def test_what_is_in_order_or_not_known_gives_no_hint(fields: dict[str, object]) -> None:
    assert receipts.hints(receipt(**{"stalls": 0, **fields})) == []


def test_a_throttled_device_is_named_in_the_text() -> None:
    throttled = state(throttled_by=["power_cap", "thermal"])
    text = receipts.describe(receipt(device_state=throttled))
    assert "throttled by power_cap, thermal (nvml)" in text
    assert "throttling not known (nvml)" in receipts.describe(
        receipt(device_state=state(throttled_by=["unknown"]))
    )


def test_json_holds_the_receipt_the_steps_and_the_device() -> None:
    fields = json.loads(receipts.as_json(reply(), DEVICE))
    assert fields["receipt"] == receipt().to_fields()
    assert fields["token_us"] == [0, *STEPS_US]
    assert (fields["median_step_us"], fields["stalled_tokens"]) == (10_000, [4])
    assert fields["hints"] == receipts.hints(reply())
    assert fields["device"]["compute_capability"] == "9.0"
    assert "device" not in json.loads(receipts.as_json(reply()))


def test_a_trace_shows_phases_and_tokens_where_they_were() -> None:
    events = json.loads(receipts.trace(reply()))["traceEvents"]
    request, *others = events
    assert (request["dur"], request["args"]["prompt_tokens"]) == (240_000, 300)
    phases = [(e["name"], e["ts"], e["dur"]) for e in others if e["cat"] == "phase"]
    assert phases == [
        ("queue", 0, 4_000),
        ("preprocess", 4_000, 10_000),
        ("vision", 14_000, 60_000),
        ("prefill", 74_000, 20_000),
        ("decode", 95_000, 126_000),
    ]
    tokens = [e for e in others if e["cat"] != "phase"]
    assert [e["dur"] for e in tokens] == STEPS_US
    assert (tokens[0]["ts"], tokens[-1]["ts"] + tokens[-1]["dur"]) == (95_000, 221_000)
    assert [e["name"] for e in tokens if e["cat"] == "stall"] == ["token 4"]
    assert {e["ph"] for e in events} == {"X"} and len({e["tid"] for e in events}) == 3


def test_a_trace_of_a_receipt_alone_has_no_tokens() -> None:
    events = json.loads(receipts.trace(receipt()))["traceEvents"]
    assert {e["cat"] for e in events} == {"request", "phase"}


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, hearth.receipts; print({'torch', 'numpy', 'rich'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
