"""Why a request was slow: its phases against those of its own kind, and what was different.

Pure: all it looks at are the records of requests that the service keeps (Client.requests()). Alike
are requests of one model and kind whose prompt and answer have about as many tokens, to a factor
of two. docs/diagnostics.md says what each cause means.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from . import messages
from .devices import throttles
from .receipts import PHASES
from .units import span

Record = messages.RequestRecord
LEAST_ALIKE = 5  # fewer are no history
_SLOW, _FAST = 1.5, 0.67  # times the median
_NOTICED_MS = 20.0  # what is less is nobody's concern
_PART = 0.1  # of what a request took more, that makes a phase a cause
_CLOCK = 0.9  # of the median, below which it is low
_MOST_NAMED = 3


class Phase(NamedTuple):
    """ms: of this request; usual_ms: median of those alike, None where they are too few."""

    name: str
    ms: float
    usual_ms: float | None

    @property
    def more_ms(self) -> float:
        """What it took more than usual; all of it where nobody knows what is usual."""
        return self.ms - (self.usual_ms or 0.0)


class Explanation(NamedTuple):
    """verdict: slow, usual, fast, failed, replayed or "no history yet"; alike: how many requests it
    was compared with; causes: sentences, the costliest first."""

    record: Record
    verdict: str
    alike: int
    usual_ms: float | None
    phases: list[Phase]
    causes: list[str]


def explain(record: Record, history: Iterable[Record]) -> Explanation:
    """One request against the others, which may contain it."""
    others = [other for other in history if other.request != record.request]
    alike = alike_to(record, others)
    known = alike if len(alike) >= LEAST_ALIKE else []
    usual_ms = _median(known, lambda other: other.receipt.total_ms)
    phases = _phases(record, known)
    verdict = _verdict(record, usual_ms)
    causes: list[str] = []
    if verdict == "failed":
        causes.append(f"it ended with {record.code}: {record.what}")
    if verdict in ("slow", "failed", "no history yet"):
        causes += _causes(record, known, others, phases)
    return Explanation(record, verdict, len(alike), usual_ms, phases, causes)


def alike_to(record: Record, others: Iterable[Record]) -> list[Record]:
    """Answered requests of the same model, kind and size."""
    wanted = _likeness(record)
    return [other for other in others if _is_plain(other) and _likeness(other) == wanted]


def pick(word: str, records: Sequence[Record]) -> Record | None:
    """The request that `word` names: a number, `last`, or `slow`, which took most for its kind."""
    ended = [record for record in records if record.kind != "load"] or list(records)
    if word == "last":
        return max(ended, key=lambda record: record.request, default=None)
    if word == "slow":
        answered = [record for record in ended if _is_plain(record)]
        slowness = _slownesses(answered)
        return max(answered, key=lambda record: slowness[record.request], default=None)
    return next((record for record in records if str(record.request) == word), None)


def describe(explanation: Explanation) -> str:
    """For a person."""
    record, usual_ms = explanation.record, explanation.usual_ms
    total = span(record.receipt.total_ms)
    program = record.client.partition(" (hearth ")[0]
    lines = [f"request {record.request}: {record.kind} with {record.name or 'no model'}, {program}"]
    if usual_ms is not None:
        times = record.receipt.total_ms / usual_ms if usual_ms > 0 else 1.0
        beside = f"usually {span(usual_ms)} (median of {explanation.alike} like it)"
        lines.append(f"took {total}, {beside}: {explanation.verdict}, {times:.1f} times that")
    elif explanation.verdict == "no history yet":
        lines.append(f"took {total}; no history yet: {explanation.alike} like it, "
                     f"{LEAST_ALIKE} are needed")  # fmt: skip
    else:
        lines.append(f"took {total}: {explanation.verdict}")
    for phase in explanation.phases:
        if phase.ms or phase.usual_ms:
            usually = "" if phase.usual_ms is None else f"   usually {span(phase.usual_ms):>8}"
            lines.append(f"  {phase.name:<12}{span(phase.ms):>8}{usually}")
    lines += [f"- {cause}" for cause in explanation.causes]
    return "\n".join(lines)


def as_fields(explanation: Explanation) -> dict[str, object]:
    """The same for programs."""
    return {
        "request": explanation.record.to_fields(),
        "verdict": explanation.verdict,
        "alike": explanation.alike,
        "usual_ms": explanation.usual_ms,
        "phases": [phase._asdict() for phase in explanation.phases],
        "causes": explanation.causes,
    }


# --- likeness and medians ---


def _likeness(record: Record) -> tuple[str, str, str, int, int]:
    receipt = record.receipt
    sizes = receipt.prompt_tokens.bit_length(), receipt.generated_tokens.bit_length()
    return (record.name, record.kind, receipt.dtype, *sizes)


def _is_plain(record: Record) -> bool:
    return not record.code and not record.receipt.replayed


def _median(records: Sequence[Record], of: Callable[[Record], float]) -> float | None:
    return statistics.median(map(of, records)) if records else None


def _phases(record: Record, alike: Sequence[Record]) -> list[Phase]:
    phases = [Phase(name, _ms(record, name), _median(alike, lambda o, n=name: _ms(o, n)))  # type: ignore[misc]
              for name in PHASES]  # fmt: skip
    return [*phases, Phase("the rest", _rest_ms(record), _median(alike, _rest_ms))]


def _ms(record: Record, phase: str) -> float:
    return float(getattr(record.receipt, f"{phase}_ms"))


def _rest_ms(record: Record) -> float:
    return max(0.0, record.receipt.total_ms - sum(_ms(record, name) for name in PHASES))


def _verdict(record: Record, usual_ms: float | None) -> str:
    total_ms = record.receipt.total_ms
    if record.code:
        return "failed"
    if record.receipt.replayed:
        return "replayed"
    if usual_ms is None:
        return "no history yet"
    if total_ms > _SLOW * usual_ms and total_ms - usual_ms > _NOTICED_MS:
        return "slow"
    return "fast" if total_ms < _FAST * usual_ms else "usual"


def _slownesses(records: Iterable[Record]) -> dict[int, tuple[float, float]]:
    """By request: how many times what is usual it took, and its milliseconds. Sorts each kind once:
    comparing all with all would take a minute for as many as the service keeps."""
    kinds: dict[tuple[str, str, str, int, int], list[Record]] = {}
    for record in records:
        kinds.setdefault(_likeness(record), []).append(record)
    found: dict[int, tuple[float, float]] = {}
    for alike in kinds.values():
        ordered = sorted(record.receipt.total_ms for record in alike)
        for record in alike:
            found[record.request] = _slowness(record.receipt.total_ms, ordered)
    return found


def _slowness(total_ms: float, ordered: Sequence[float]) -> tuple[float, float]:
    """Against the others of `ordered`, the sorted milliseconds of its kind, its own among them."""
    if len(ordered) <= LEAST_ALIKE:
        return 1.0, total_ms
    usual_ms = _median_of_others(ordered, bisect_left(ordered, total_ms))
    if total_ms - usual_ms <= _NOTICED_MS:
        return 1.0, total_ms
    return total_ms / max(usual_ms, 0.001), total_ms


def _median_of_others(ordered: Sequence[float], own: int) -> float:
    """The median of sorted values but the one at `own`."""
    count = len(ordered) - 1
    middle = [place + (place >= own) for place in ((count - 1) // 2, count // 2)]
    return (ordered[middle[0]] + ordered[middle[1]]) / 2


# --- causes ---


def _causes(
    record: Record, alike: Sequence[Record], others: Sequence[Record], phases: Sequence[Phase]
) -> list[str]:
    """Of each phase that took more, costliest first."""
    more_ms = sum(max(0.0, phase.more_ms) for phase in phases)
    told: list[str] = []
    for phase in sorted(phases, key=lambda phase: -phase.more_ms):
        if phase.more_ms >= max(_PART * more_ms, _NOTICED_MS):
            told += _CAUSES[phase.name](record, alike, others, phase)
    return told


def _queue(
    record: Record, _alike: Sequence[Record], others: Sequence[Record], phase: Phase
) -> list[str]:
    began = float(record.at_ms)
    before = [o for o in others if _works_within(o, began, began + _ms(record, "queue"))]
    if not before:
        return [f"it waited {span(phase.ms)}, for memory or for an equal prompt being computed"]
    return [f"it waited {span(phase.ms)} behind {_named(before)}"]


def _load(
    record: Record, _alike: Sequence[Record], others: Sequence[Record], phase: Phase
) -> list[str]:
    how = "came back from pinned memory" if record.receipt.warm_load else "was cold"
    text = f"its model {how}: {span(phase.ms)}"
    if record.receipt.evicted:
        text += f"; {', '.join(record.receipt.evicted)} left for it"
    pushed = [o for o in others if o.request < record.request and record.name in o.receipt.evicted]
    if pushed:
        last = max(pushed, key=lambda other: other.request)
        text += f"; {last.name} of request {last.request} ({_program(last)}) had pushed it out"
    return [text]


def _reading(
    record: Record, alike: Sequence[Record], others: Sequence[Record], phase: Phase
) -> list[str]:
    """preprocess, vision: what there was to look at."""
    receipt = record.receipt
    text = f"{phase.name} took {span(phase.ms)} for {receipt.image_tokens} tokens of pictures"
    usual = _median(alike, lambda other: other.receipt.cached_pictures)
    if usual is not None and usual > receipt.cached_pictures:
        text += f", of which {receipt.cached_pictures} were cached and usually {usual:.0f} are"
    return [text, *_company(record, alike, others)]


def _prefill(
    record: Record, alike: Sequence[Record], others: Sequence[Record], phase: Phase
) -> list[str]:
    receipt = record.receipt
    text = f"the prompt took {span(phase.ms)}: {receipt.prompt_tokens - receipt.cached_tokens} of"
    text += f" its {receipt.prompt_tokens} tokens were not cached"
    usual = _median(alike, lambda o: o.receipt.prompt_tokens - o.receipt.cached_tokens)
    if usual is not None:
        text += f", usually {usual:.0f} are not"
    return [text, *_clocks(record, alike), *_company(record, alike, others)]


def _decode(
    record: Record, alike: Sequence[Record], others: Sequence[Record], phase: Phase
) -> list[str]:
    receipt = record.receipt
    usual = _median(alike, lambda other: other.receipt.tokens_per_second)
    text = f"{receipt.generated_tokens} tokens took {span(phase.ms)}"
    if usual:
        text += f": {receipt.tokens_per_second:.1f} a second, usually {usual:.1f}"
    told = [text, *_clocks(record, alike), *_company(record, alike, others)]
    if receipt.stalls:
        told.append(f"{receipt.stalls} steps stalled, the slowest took "
                    f"{span(receipt.slowest_token_ms)}")  # fmt: skip
    return told


def _rest(
    _record: Record, _alike: Sequence[Record], _others: Sequence[Record], phase: Phase
) -> list[str]:
    return [
        f"{span(phase.ms)} passed between the processes: a program's first request has its shared"
        " memory mapped, and on a busy machine threads wait for a processor"
    ]


_CAUSES = {
    "queue": _queue, "load": _load, "preprocess": _reading, "vision": _reading,
    "prefill": _prefill, "decode": _decode, "the rest": _rest,
}  # fmt: skip


def _clocks(record: Record, alike: Sequence[Record]) -> list[str]:
    """What held the device back, where anybody knows."""
    state = record.receipt.device_state
    told = []
    if reasons := throttles(state):
        text = f"the device's clock was held down by {', '.join(reasons)}"
        if state.power_w is not None and state.power_limit_w is not None:
            text += f" ({state.power_w:.0f} of {state.power_limit_w:.0f} W)"
        if state.temperature_c is not None:
            text += f" at {state.temperature_c} °C"
        told.append(text)
    clocks = [o.receipt.device_state.clock_mhz for o in alike]
    known = [clock for clock in clocks if clock is not None]
    if (
        state.clock_mhz is not None
        and known
        and state.clock_mhz < _CLOCK * statistics.median(known)
    ):
        told.append(f"the clock was {state.clock_mhz} MHz, usually {statistics.median(known):.0f}")
    return told


def _company(record: Record, alike: Sequence[Record], others: Sequence[Record]) -> list[str]:
    """Who shared the engine with it."""
    began, ended = _working(record)
    beside = [other for other in others if _works_within(other, began, ended)]
    work = _Work([*others, record])
    usual = _median(alike, work.beside)
    if not beside or (usual is not None and len(beside) <= usual):
        return []
    text = f"it shared the engine with {_named(beside)}"
    return [text if usual is None else f"{text}, usually with {usual:.0f}"]


def _working(record: Record) -> tuple[float, float]:
    """When the engine was at it, Unix milliseconds."""
    receipt = record.receipt
    began = record.at_ms + receipt.queue_ms + receipt.load_ms
    return began, max(began, record.at_ms + receipt.total_ms)


def _has_worked(record: Record) -> bool:
    """Whether the engine computed anything for it."""
    began, ended = _working(record)
    return record.kind != "load" and not record.receipt.replayed and began < ended


def _works_within(record: Record, began: float, ended: float) -> bool:
    own_began, own_ended = _working(record)
    return _has_worked(record) and own_began < ended and began < own_ended


class _Work:
    """When the engine was at each of many requests. Sorted, so that asking for each of them who was
    beside it does not compare all with all."""

    def __init__(self, records: Iterable[Record]) -> None:
        spans = [_working(record) for record in records if _has_worked(record)]
        self._begun = sorted(began for began, _ in spans)
        self._ended = sorted(ended for _, ended in spans)

    def beside(self, record: Record) -> int:
        """How many others shared the engine with one of them."""
        began, ended = _working(record)
        # all that began before its end, but those that had ended before it began
        count = bisect_left(self._begun, ended) - bisect_right(self._ended, began)
        return count - _has_worked(record)


def _named(records: Sequence[Record]) -> str:
    """3 other requests (1234 of main.py, …)."""
    first = [f"{record.request} of {_program(record)}" for record in records[:_MOST_NAMED]]
    more = ", …" if len(records) > _MOST_NAMED else ""
    many = "1 other request" if len(records) == 1 else f"{len(records)} other requests"
    return f"{many} ({', '.join(first)}{more})"


def _program(record: Record) -> str:
    return record.client.partition(" (hearth ")[0] or "a client"
