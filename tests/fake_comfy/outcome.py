"""What one workflow did, in the same words for the harness and for a real ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """`status` is success, error, interrupted or rejected (refused when it was queued)."""

    status: str = ""
    error: str = ""  # the message a user reads; of a rejected workflow all of ComfyUI's answer
    error_type: str = ""
    seconds: float = 0.0  # from queueing to the end
    interrupt_seconds: float = 0.0  # from asking for the interrupt to the end
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id: its ui values
    cached: list[str] = field(default_factory=list)  # ids of nodes that did not run
    texts: list[tuple[str, str]] = field(
        default_factory=list
    )  # (node id, text shown while running)
    text_times: list[float] = field(default_factory=list)  # seconds since queueing, one per text
    progress: list[tuple[str, float, float]] = field(default_factory=list)  # (node id, value, max)

    def text(self, node: str) -> str:
        """What a text node shows after it ran."""
        return str(self.outputs[node]["text"][0])
