"""A node as plain data: one table that makes both kinds of ComfyUI classes.

`_v3.py` and `_v1.py` turn a `Node` into the class that this ComfyUI understands. Numbers come from
the contract (`from_contract`), so that a widget, the service's check and the documentation agree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from .. import errors, messages


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
        lines = {"multiline": False} if self.kind == "STRING" and "default" in self.options else {}
        return {**lines, **self.options, "tooltip": self.tooltip}


def from_contract(
    name: str, kind: str, *, message: str = "generate", optional: bool = False, **more: Any
) -> Input:
    """The input for a field of a message: default, limits, step, choices and tooltip as declared
    there, unless `more` says otherwise."""
    declared = {**messages.widget(message, name), **more}
    doc = str(declared.pop("tooltip"))
    choices = declared.pop("choices", None)
    options = {key: value for key, value in declared.items() if value is not None}
    return Input(
        name,
        kind,
        doc[:1].upper() + doc[1:] + ".",
        options,
        choices and (lambda: list(choices)),
        optional,
    )


def chosen(choices: Mapping[str, str], name: str, what: str) -> str:
    """What a choice stands for. ComfyUI 0.3.64 does not look whether a V3 node has a choice."""
    if name not in choices:
        raise errors.BadRequest(
            f"{what} has no choice {name!r}.", f"Choose one of: {', '.join(choices)}."
        )
    return choices[name]


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

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given values, and the defaults of optional widgets that a workflow, saved before they
        were there or written by hand, does not have."""
        defaults = {
            one.name: one.options["default"]
            for one in self.inputs
            if one.optional and "default" in one.options
        }
        return {**defaults, **given}

    search_aliases: tuple[str, ...] = ()


def fingerprint_of(node: Node) -> Callable[..., Any] | None:
    """What ComfyUI shall ask before it takes a result from its cache; None: inputs say it all."""
    if node.always_runs:
        return lambda **_values: float("nan")  # differs from itself
    return node.fingerprint
