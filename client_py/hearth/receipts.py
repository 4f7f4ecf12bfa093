"""What an answer cost and why: its receipt as text, as JSON and as a trace.

Pure: whoever has a reply has all that is needed, nobody is asked. An answer here is anything with a
receipt (Reply, Encoded, a generated or encoded message) or a receipt alone; the times of single
tokens are known of the former only. docs/diagnostics.md says what each number means.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from . import messages
from .devices import further_lines, is_memory_full, memory_text, state_lines, throttles
from .units import amount, span
from .wire import packed_integers

PHASES = ("queue", "load", "preprocess", "vision", "prefill", "decode")  # in this order
STALL = 3  # times the median step, as the service counts

_LABEL, _BAR, _TIMELINE = 14, 24, 64  # columns
_LOW_SHARE = 0.15  # of the memory's bandwidth, below which one is to wonder
_MOST_STALLS_NAMED = 8
# Upper ends of the histogram's rows in median steps; what is above the last one is a stall.
_ROWS = (0.9, 1.1, 1.5, 2.0, float(STALL))


class Steps(NamedTuple):
    """Decode steps of one answer. Tokens are counted from 0; the first needs no step."""

    us: list[int]  # us[i] led to token i + 1
    median_us: int
    stalls: list[int]  # tokens whose step was longer than STALL medians


def describe(answer: Any, device: messages.Device | None = None) -> str:
    """Some thirty lines for a person: phases with bars, steps with stalls, share of the memory's
    bandwidth, the device, and what looks wrong. `device`: of the service's status or welcome
    (devices.device_named); without it, what only they say is left out."""
    receipt = receipt_of(answer)
    if receipt.replayed:
        lines = _replayed(receipt)
    else:
        lines = [*_time(receipt), *_tokens(receipt), *_steps(receipt, steps_of(answer))]
        lines += [*_bandwidth(receipt), *_device(receipt, device)]
    return "\n".join([*lines, *(_line("hint", hint) for hint in hints(answer))])


def as_json(answer: Any, device: messages.Device | None = None) -> str:
    """The same for programs: the receipt's fields, `token_us`, `median_step_us`, `stalled_tokens`,
    `hints` and, where it was given, `device`."""
    steps = steps_of(answer)
    fields: dict[str, Any] = {
        "receipt": receipt_of(answer).to_fields(),
        "token_us": token_us_of(answer),
        "median_step_us": steps.median_us,
        "stalled_tokens": steps.stalls,
        "hints": hints(answer),
    }
    if device is not None:
        fields["device"] = device.to_fields()
    return json.dumps(fields, ensure_ascii=False)


def trace(answer: Any) -> str:
    """One answer as Chrome's trace JSON, for chrome://tracing or ui.perfetto.dev: the request, its
    phases, and its tokens, of which those that stalled are named so. Microseconds from arrival; the
    first token stands where the receipt has it: a gap before it is what no phase accounts for."""
    receipt, steps = receipt_of(answer), steps_of(answer)
    fields = receipt.to_fields()
    events = [_event("request", "request", 0.0, receipt.total_ms * 1000, 1, **fields)]
    at_us = 0.0
    first_us = receipt.first_token_ms * 1000
    for name in PHASES:
        us = float(fields[f"{name}_ms"]) * 1000
        if name == "decode":
            at_us = max(at_us, first_us)
        if us > 0:
            events.append(_event(name, "phase", at_us, us, 2))
        at_us += us
    at_us, stalls = first_us, set(steps.stalls)
    for index, us in enumerate(steps.us, 1):
        what = "stall" if index in stalls else "step"
        events.append(_event(f"token {index}", what, at_us, us, 3))
        at_us += us
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, ensure_ascii=False)


def _event(name: str, kind: str, at_us: float, us: float, row: int, **args: Any) -> dict[str, Any]:
    made = {"name": name, "cat": kind, "ph": "X", "ts": at_us, "dur": us, "pid": 1, "tid": row}
    return {**made, "args": args} if args else made


def receipt_of(answer: Any) -> messages.Receipt:
    """Of a reply, or the receipt itself."""
    receipt = answer if isinstance(answer, messages.Receipt) else answer.receipt
    assert isinstance(receipt, messages.Receipt)
    return receipt


def token_us_of(answer: Any) -> list[int]:
    """Microseconds from token to token, 0 for the first; empty where they are not known."""
    times = getattr(answer, "token_us", [])
    return packed_integers(times) if isinstance(times, bytes) else list(times)


def steps_of(answer: Any) -> Steps:
    """Decode steps and which of them stalled; none without times."""
    us = token_us_of(answer)[1:]
    if not us:
        return Steps([], 0, [])
    median = sorted(us)[len(us) // 2]
    return Steps(us, median, [i + 1 for i, step in enumerate(us) if step > STALL * median])


def hints(answer: Any) -> list[str]:
    """What a person should look at, in sentences; empty when nothing is striking."""
    receipt = receipt_of(answer)
    if receipt.replayed:
        return []
    state = receipt.device_state
    found = []
    if receipt.load_ms > receipt.total_ms / 2:
        found.append("most of the time went into loading: a model that stays loaded spares it")
    if receipt.queue_ms > receipt.total_ms / 2:
        found.append("most of the time went into waiting for others' requests or for memory")
    if _rest_ms(receipt) > receipt.total_ms / 2:
        found.append(
            "most of the time passed between the processes: a program's first request has its"
            " shared memory mapped, and on a busy machine threads wait for a processor"
        )
    if is_memory_full(state) and 0 < receipt.bandwidth_share < _LOW_SHARE:
        found.append(
            "paging suspected: the device's memory is full and tokens come slowly for what it"
            " could give; let another program give memory back, or load with dtype int8 or int4"
        )
    if reasons := throttles(state):
        found.append(f"the device's clock is held down by {', '.join(reasons)}")
    if receipt.stalls:
        found.append(f"{_counted(receipt.stalls, 'step')} took over {STALL} times the median")
    return found


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}".rstrip()


def _row(name: str, number: str, beside: str, bar: str) -> str:
    return f"  {name:<{_LABEL - 2}}{number:>8}{beside:>7}  {bar}".rstrip()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bar(part: float, whole: float) -> str:
    """Never empty for what is not nothing."""
    if part <= 0 or whole <= 0:
        return ""
    return "#" * max(1, round(_BAR * min(1.0, part / whole)))


def _replayed(receipt: messages.Receipt) -> list[str]:
    made = _counted(receipt.generated_tokens, "token")
    return [
        _line("time", span(receipt.total_ms)),
        _line("tokens", f"{made}, the answer of an earlier equal request"),
    ]


def _time(receipt: messages.Receipt) -> list[str]:
    """Phases do not overlap; the rest of the whole is work between threads and processes."""
    total, first = receipt.total_ms, receipt.first_token_ms
    times = {name: float(getattr(receipt, f"{name}_ms")) for name in PHASES}
    times["the rest"] = _rest_ms(receipt)
    lines = [_line("time", span(total) + (f", first token after {span(first)}" if first else ""))]
    for name, ms in times.items():
        percent = f"{100 * ms / total:.0f} %" if total else ""
        note = " from pinned memory" if name == "load" and receipt.warm_load else ""
        bar = _bar(ms, total) if percent != "0 %" else ""
        lines.append(_row(name, span(ms), percent, bar + note))
    return lines


def _rest_ms(receipt: messages.Receipt) -> float:
    named_ms: float = sum(getattr(receipt, f"{name}_ms") for name in PHASES)
    return max(0.0, receipt.total_ms - named_ms)


def _tokens(receipt: messages.Receipt) -> list[str]:
    read = [f"{receipt.prompt_tokens} read"]
    if receipt.image_tokens:
        read.append(f"{receipt.image_tokens} of them pictures'")
    if receipt.cached_tokens:
        read.append(f"{receipt.cached_tokens} of them from the cache")
    if receipt.cached_pictures:
        read.append(f"{_counted(receipt.cached_pictures, 'picture')} from the cache")
    made = [f"{receipt.generated_tokens} generated"]
    if receipt.thinking_tokens:
        made.append(f"{receipt.thinking_tokens} of them thoughts")
    if receipt.tokens_per_second:
        made.append(f"{receipt.tokens_per_second:.1f} a second")
    return [_line("tokens", ", ".join(read)), _line("", ", ".join(made))]


def _steps(receipt: messages.Receipt, steps: Steps) -> list[str]:
    if receipt.generated_tokens < 2:
        return []
    slowest = f"slowest {span(receipt.slowest_token_ms)}"
    if not steps.us:
        stalls = _counted(receipt.stalls, "stall")
        return [_line("steps", f"{slowest}, {stalls}; the time of each is not known")]
    lines = [_line("steps", f"{len(steps.us)}, median {span(steps.median_us / 1000)}, {slowest}")]
    lines += _histogram(steps)
    lines.append(f"  {_timeline(steps)}")
    if steps.stalls:
        named = [f"token {i} {span(steps.us[i - 1] / 1000)}" for i in steps.stalls]
        more = len(named) - _MOST_STALLS_NAMED
        tail = f" and {more} more" if more > 0 else ""
        lines.append(f"  stalls: {', '.join(named[:_MOST_STALLS_NAMED])}{tail}")
    return lines


def _histogram(steps: Steps) -> list[str]:
    """Rows around the median; the last one holds the stalls."""
    limits_us = [factor * steps.median_us for factor in _ROWS]
    counts = [0] * (len(limits_us) + 1)
    for step in steps.us:
        counts[sum(step > limit for limit in limits_us)] += 1
    ends = [span(limit / 1000) for limit in limits_us]
    names = [*(f"to {end}" for end in ends), f"over {ends[-1]}"]
    most = max(counts)
    return [
        _row(name, "", str(count), _bar(count, most) + (" stalled" if row == len(ends) else ""))
        for row, (name, count) in enumerate(zip(names, counts))
        if count
    ]


def _timeline(steps: Steps) -> str:
    """From the first step to the last, the slowest of each column: . : and ! for a stall."""
    width = min(_TIMELINE, len(steps.us))
    marks = ""
    for column in range(width):
        first, end = column * len(steps.us) // width, (column + 1) * len(steps.us) // width
        medians = max(steps.us[first:end]) / max(1, steps.median_us)
        marks += "!" if medians > STALL else ":" if medians > 1.5 else "."
    return marks


def _bandwidth(receipt: messages.Receipt) -> list[str]:
    if receipt.generated_tokens < 2 or not receipt.bytes_per_token:
        return []
    rate, share = receipt.bytes_per_token * receipt.tokens_per_second, receipt.bandwidth_share
    text = f"{amount(receipt.bytes_per_token)} a step, {amount(rate)}/s"
    if share:
        text += f": {100 * share:.0f} % of the {amount(rate / share)}/s that the memory can give"
        if share > 1:
            text += ", more than all: caches held a part"
    else:
        text += "; what the memory can give is not known"
    return [_line("bandwidth", text)]


def _device(receipt: messages.Receipt, device: messages.Device | None) -> list[str]:
    arithmetic = f", {receipt.dtype}" if receipt.dtype else ""
    lines = [f"{receipt.device or 'not named'}{arithmetic}"]
    lines += further_lines(device) if device is not None else []
    lines += state_lines(receipt.device_state)
    indented = [_line("" if number else "device", text) for number, text in enumerate(lines)]
    return [*indented, _line("memory", memory_text(receipt.device_state))]
