"""Receipts of answers as the outputs of a node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._schema import Output

if TYPE_CHECKING:
    from ..messages import Welcome
    from ..replies import Reply

OUTPUTS = (
    Output("stats", "STRING", "Where the time went, for people: phases, steps, stalls, device."),
    Output("stats_json", "STRING", "The same for programs: a list with an element an answer."),
)


def outputs_of(replies: Sequence[Reply], welcome: Welcome | None) -> tuple[str, str]:
    """Values of OUTPUTS."""
    from ..devices import device_named
    from ..receipts import as_json, describe

    devices = welcome.devices if welcome is not None else []
    texts, parsed = [], []
    for number, reply in enumerate(replies, 1):
        device = device_named(devices, reply.receipt.device)
        heading = f"answer {number} of {len(replies)}\n" if len(replies) > 1 else ""
        texts.append(heading + describe(reply, device))
        parsed.append(json.loads(as_json(reply, device)))
    return "\n\n".join(texts), json.dumps(parsed, ensure_ascii=False)
