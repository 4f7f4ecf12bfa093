"""Measure latency and throughput of the running service.

Asks the same question about pictures that differ, so that no cache answers, from as many clients as
--concurrency says. --save keeps the numbers; --baseline compares with those of an earlier run and
fails (exit code 1) where something is slower by more than --tolerance.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from .. import client, errors, messages
from ..chat import checked_options
from ..models import Model
from ..units import span
from .models import MODEL_HELP, add_numerics, asked_model
from .output import answers, print_json, problems
from .progress import LoadProgress
from .tables import table
from .tree import completes
from .values import per_cent

EXAMPLES = (
    ("hearth bench -n 32 --concurrency 4", "the embedded model"),
    ("hearth bench --model /models/Qwen3-VL-8B --save before.json", "remember"),
    ("hearth bench --model /models/Qwen3-VL-8B --baseline before.json", "and compare"),
)
JSON = (
    '`{"model", "device", "concurrency", "requests", "seconds", "requests_per_second", '
    '"tokens_per_second", "first_token_ms_p50", "first_token_ms_p95", "total_ms_p50", '
    '"total_ms_p95", "slower": [what is slower than the baseline, …]}`'
)
QUESTION = "Describe this picture."
_SIDE = 160
_MOST_CLIENTS = 512
_RUN = time.time_ns()  # so that the pictures of two runs differ too
# what is compared, and whether more of it is worse
MEASURES = {
    "first_token_ms_p50": True,
    "first_token_ms_p95": True,
    "total_ms_p50": True,
    "total_ms_p95": True,
    "tokens_per_second": False,
    "requests_per_second": False,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much of what, and what to compare with."""
    model = parser.add_argument("--model", default="ember", metavar="DIR|NAME", help=MODEL_HELP)
    completes(model, "models")
    add_numerics(parser)
    parser.add_argument(
        "-n", "--requests", type=int, default=16, metavar="N", help="how many (default: 16)"
    )
    parser.add_argument(
        "-c", "--concurrency", type=int, default=1, metavar="N", help="clients at once (default: 1)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=64, metavar="N", help="of each answer (default: 64)"
    )
    files = [
        parser.add_argument("--save", type=Path, metavar="FILE", help="write the numbers"),
        parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with these"),
    ]
    for file in files:
        completes(file, "files")
    parser.add_argument(
        "--tolerance", type=per_cent, default=10.0, metavar="%",
        help="how much slower is still as fast (default: 10)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Warms up once, measures, compares."""
    if options.requests < 1 or not 1 <= options.concurrency <= _MOST_CLIENTS:
        options.usage_error(f"--requests is at least 1, --concurrency 1 to {_MOST_CLIENTS}")
    try:
        checked_options("generate", {"max_tokens": options.max_tokens})
    except errors.BadRequest as error:
        options.usage_error(error.what)
    before = _read(options.baseline) if options.baseline else None
    numbers = _measured(options)
    slower = compared(numbers, before, options.tolerance) if before else []
    numbers["slower"] = slower
    if options.save:
        options.save.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print_json(numbers)
    else:
        _print(numbers, before)
    return 1 if slower else 0


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def compared(now: dict[str, Any], before: dict[str, Any], tolerance: float) -> list[str]:
    """The measures that are worse by more than so many per cent."""
    slower = []
    for name, more_is_worse in MEASURES.items():
        ratio = now[name] / before[name] if before.get(name) else 1.0
        worse = ratio - 1 if more_is_worse else 1 / max(ratio, 1e-9) - 1
        if 100 * worse > tolerance:
            slower.append(name)
    return slower


def summary(receipts: list[messages.Receipt], seconds: float) -> dict[str, Any]:
    """The numbers of a run. Times are the service's own, from arrival to the first token or end."""
    first = [receipt.first_token_ms for receipt in receipts]
    total = [receipt.total_ms for receipt in receipts]
    tokens = sum(receipt.generated_tokens for receipt in receipts)
    return {
        "requests": len(receipts),
        "seconds": round(seconds, 4),
        "requests_per_second": round(len(receipts) / seconds, 3),
        "tokens_per_second": round(tokens / seconds, 2),
        "first_token_ms_p50": round(percentile(first, 0.5), 3),
        "first_token_ms_p95": round(percentile(first, 0.95), 3),
        "total_ms_p50": round(percentile(total, 0.5), 3),
        "total_ms_p95": round(percentile(total, 0.95), 3),
    }


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    with client.connect(options.socket) as service:
        model = asked_model(service, options)
        with LoadProgress(str(options.model)) as progress:
            service.load(model, on_progress=progress)
        warm = _ask(service, model, -1, options.max_tokens)
        began = time.monotonic()
        receipts = _Crowd(options, model).run()
        seconds = time.monotonic() - began
    return {
        "model": str(options.model),
        "device": warm.device,
        "dtype": warm.dtype,
        "concurrency": options.concurrency,
        "max_tokens": options.max_tokens,
        **summary(receipts, seconds),
    }


def _ask(
    service: client.Client, model: Model | str, number: int, max_tokens: int
) -> messages.Receipt:
    """One picture of its own: a gray ground with noise that depends on its number."""
    noise = random.Random(f"{_RUN} {number}")
    pixels = bytes(noise.choices(range(112, 144), k=_SIDE * _SIDE * 3))
    picture = memoryview(pixels).cast("B", (_SIDE, _SIDE, 3))
    chat = [{"role": "user", "content": [picture, QUESTION]}]
    return service.generate(model, chat, temperature=0.0, max_tokens=max_tokens).receipt


class _Crowd:
    """Clients that share the requests among them, each with a connection and a thread."""

    def __init__(self, options: argparse.Namespace, model: Model | str) -> None:
        self._options, self._model = options, model
        self._lock = threading.Lock()
        self._left = int(options.requests)
        self._receipts: list[messages.Receipt] = []
        self._error: Exception | None = None

    def run(self) -> list[messages.Receipt]:
        """All receipts. Raises the first error."""
        count = self._options.concurrency
        # daemons: Ctrl-C ends the command, whatever they wait for
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error
        return self._receipts

    def _serve(self) -> None:
        try:
            with client.connect(self._options.socket, timeout=5.0) as service:
                while (number := self._take()) is not None:
                    receipt = _ask(service, self._model, number, self._options.max_tokens)
                    with self._lock:
                        self._receipts.append(receipt)
        except Exception as error:  # told by run(), on the caller's thread
            self._error = error

    def _take(self) -> int | None:
        with self._lock:
            if not self._left or self._error is not None:
                return None
            self._left -= 1
            return self._left


def _read(path: Path) -> dict[str, Any]:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(before[name], (int, float)) for name in MEASURES):
            return dict(before)
    except (ValueError, TypeError, KeyError):
        pass
    raise errors.BadRequest(
        f"{path} holds no numbers of an earlier run.", "Write one with --save FILE."
    )


def _print(numbers: dict[str, Any], before: dict[str, Any] | None) -> None:
    title = (
        f"{numbers['model']} on {numbers['device'] or 'the service'}: {numbers['requests']} "
        f"requests, {numbers['concurrency']} at once, {numbers['seconds']:.1f} s"
    )
    made = table(title, "", ">NOW", *([">BEFORE", ">CHANGE"] if before else []))
    for name in MEASURES:
        label = name.replace("_ms", "").replace("_", " ")
        row: list[RenderableType] = [label, _shown(name, numbers[name])]
        if before:
            change = 100 * (numbers[name] / before[name] - 1) if before[name] else 0.0
            style = "red" if name in numbers["slower"] else "green"
            row += [_shown(name, before[name]), Text(f"{change:+.1f} %", style)]
        made.add_row(*row)
    answers().print(made)
    for key in ("model", "device", "dtype", "concurrency", "max_tokens"):
        if before and before.get(key) != numbers[key]:
            problems().print(
                f"not comparable: {key} was {before.get(key)!r}, is {numbers[key]!r}",
                style="yellow", markup=False,
            )  # fmt: skip


def _shown(name: str, value: float) -> str:
    return span(value) if "_ms" in name else f"{value:.1f}"
