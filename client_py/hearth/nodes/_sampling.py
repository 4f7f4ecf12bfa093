"""The inputs that say how an answer is made, and what they become in a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import messages
from ._schema import Input, from_contract

# Of `generate`, in the order in which a node shows them.
_NUMBERS = {
    "top_p": "FLOAT",
    "top_k": "INT",
    "min_p": "FLOAT",
    "typical_p": "FLOAT",
    "repetition_penalty": "FLOAT",
    "presence_penalty": "FLOAT",
    "frequency_penalty": "FLOAT",
    "no_repeat_ngram": "INT",
}
_FORMS = ("json_schema", "regex")


def seed_input(**more: Any) -> Input:
    return from_contract("seed", "INT", control_after_generate=True, **more)


def choice_inputs() -> tuple[Input, ...]:
    """How each token is chosen, beside the temperature."""
    do_sample = Input(
        "do_sample",
        "BOOLEAN",
        "Off: always the likeliest token, whatever temperature and its like say, also those of the"
        " model's own defaults.",
        {"default": True},
        optional=True,
    )
    numbers = (from_contract(n, kind, optional=True, advanced=True) for n, kind in _NUMBERS.items())
    defaults = from_contract("model_defaults", "BOOLEAN", optional=True, advanced=True)
    return (do_sample, *numbers, defaults)


def search_inputs() -> tuple[Input, ...]:
    """Where an answer ends, and how many there are."""
    stop = Input(
        "stop",
        "STRING",
        "The answer ends before the first of these texts, one a line. \\n stands for a line break.",
        {"default": "", "multiline": True, "placeholder": "Stop at … (one a line)"},
        optional=True,
    )
    return (
        stop,
        from_contract("answers", "INT", optional=True, advanced=True),
        from_contract("beams", "INT", optional=True, advanced=True),
        from_contract("length_penalty", "FLOAT", optional=True, advanced=True),
    )


def thinking_inputs() -> tuple[Input, ...]:
    """Whether the model thinks, and for how long."""
    return (
        from_contract("thinking", "COMBO", optional=True),
        from_contract("thinking_tokens", "INT", optional=True, advanced=True),
    )


def form_inputs() -> tuple[Input, ...]:
    """What the answer must look like."""
    return tuple(
        from_contract(
            name, "STRING", optional=True, multiline=True, placeholder=name, advanced=True
        )
        for name in _FORMS
    )


def pixel_inputs() -> tuple[Input, ...]:
    """How large pictures are seen."""
    return tuple(
        from_contract(name, "INT", optional=True, advanced=True)
        for name in ("min_pixels", "max_pixels")
    )


def sampling_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a `generate` request among a node's inputs."""
    names = messages.Generate.__slots__
    sampling = {n: v for n, v in inputs.items() if n in names and n not in ("model", "messages")}
    if "stop" in sampling:
        sampling["stop"] = lines_of(str(sampling["stop"]))
    if not inputs.get("do_sample", True):
        sampling.update(temperature=0.0, model_defaults=False)
    for name in _FORMS:
        if not str(sampling.get(name, "x")).strip():
            sampling[name] = ""
    return sampling


def lines_of(text: str) -> list[str]:
    """The lines that are not empty, with \\n and \\t as what they stand for."""
    lines = (line.rstrip("\r") for line in text.split("\n"))
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line.strip()]
