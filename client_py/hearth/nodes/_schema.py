"""A node as plain data: one table that makes both kinds of ComfyUI classes.

`_v3.py` and `_v1.py` turn a `Node` into the class that this ComfyUI understands. Numbers come from
the contract (`from_contract`), so that a widget, the service's check and the documentation agree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from .. import messages


@dataclass(frozen=True)
class Input:
    """One input. `kind` is a socket type: INT, FLOAT, STRING, BOOLEAN, COMBO, IMAGE, MASK, * for
    any, or one of a pack's own, such as HEARTH_LLM."""

    name: str
    kind: str
    tooltip: str
    options: Mapping[str, Any] = field(default_factory=dict)  # default, min, max, multiline, …
    choices: Callable[[], Sequence[str]] | None = None  # COMBO: called at each question, cheap
    optional: bool = False

    def widget(self) -> dict[str, Any]:
        """What ComfyUI calls the input's options, tooltip included."""
        return {**self.options, "tooltip": self.tooltip}


def from_contract(name: str, kind: str, **more: Any) -> Input:
    """The input for `generate.<name>`: default, limits, step and tooltip as declared there."""
    declared = messages.widget("generate", name)
    doc = str(declared.pop("tooltip"))
    number = {key: value for key, value in declared.items() if value is not None}
    return Input(name, kind, doc[:1].upper() + doc[1:] + ".", {**number, **more})


@dataclass(frozen=True)
class Output:
    """One output socket. `is_list`: the value is a list, and the nodes behind it run for each of
    its elements."""

    name: str
    kind: str
    tooltip: str
    is_list: bool = False


@dataclass(frozen=True)
class Shown:
    """What a run gives: a value for each output, and the text that the node itself shows, if it is
    one that shows something (`Node.shows`)."""

    values: tuple[Any, ...]
    text: str = ""


@dataclass(frozen=True)
class Node:
    """A node type.

    `run` gets the inputs by name; optional ones that are not connected are left out.
    `validate` is called when a workflow is queued, as `validate(cls, <names of inputs>)`: the named
    inputs are no longer checked by ComfyUI itself. It returns True or the complaint.
    """

    node_id: str
    display_name: str
    category: str
    description: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    run: Callable[..., Awaitable[Shown]]
    validate: Callable[..., Any] | None = None
    fingerprint: Callable[..., Any] | None = None
    always_runs: bool = False
    shows: bool = True
    search_aliases: tuple[str, ...] = ()


def fingerprint_of(node: Node) -> Callable[..., Any] | None:
    """What ComfyUI shall ask before it takes a result from its cache; None: inputs say it all."""
    if node.always_runs:
        return lambda **_values: float("nan")  # differs from itself
    return node.fingerprint
