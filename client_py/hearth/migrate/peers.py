"""Nodes of other packs: their inputs, and what each of them is in a node of ours.

A rule says which input of ours takes one of theirs and gives its value there, or says why there is
none. Inputs that no rule names are unknown: they are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from .. import hub_models
from . import values

Note = Callable[[str], None]


class Link(list[Any]):
    """A value that comes from another node: what it is, only the caller knows."""


@dataclass(frozen=True)
class Rule:
    """goes_to: the input of ours, empty where there is none    values: what follows from a value;
    the second argument takes what a user should know    why: of one that has no place here
    """

    goes_to: str
    values: Callable[[Any, Note], Mapping[str, Any]]
    why: str = ""


@dataclass(frozen=True)
class Peer:
    """A node of another pack.

    widgets: orders of its widgets in saved workflows, the newest first    sockets: its other inputs
    fixed: what it does without asking    rules: by its inputs; later ones win
    """

    pack: str
    target: str
    widgets: tuple[tuple[str, ...], ...]
    sockets: tuple[str, ...]
    rules: Mapping[str, Rule]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def convert(self, given: Mapping[str, Any], note: Note) -> tuple[str, dict[str, Any]]:
        """Type and inputs of the node that takes its place."""
        if given.get("bypass") is True:
            note("bypass was on: a text node takes its place.")
            text = given.get("text", given.get("prompt", ""))
            return "PrimitiveStringMultiline", {"value": text}
        made = dict(self.fixed)
        for name, rule in self.rules.items():
            if given.get(name) is not None:
                made.update(rule.values(given[name], note))
        for name in given:
            if name not in self.rules:
                note(f"{name} is not an input that is known of this node; it was left out.")
        return self.target, made


def same(name: str) -> Rule:
    """The same under another name."""
    return Rule(name, lambda value, _note: {name: value})


def choice(name: str, known: Mapping[str, str]) -> Rule:
    """One of a list that is called otherwise here."""

    def pick(value: Any, note: Note) -> Mapping[str, Any]:
        if isinstance(value, Link):
            note(f"{name} came from another node, whose words are not ours; it was left out.")
            return {}
        if value in known.values():
            return {name: value}
        if value not in known:
            note(f"{name} {value!r} is not known; ours was left at its default.")
            return {}
        return {name: known[value]}

    return Rule(name, pick)


def dropped(name: str, harmless: Any, why: str) -> Rule:
    """There is no such thing here; said when it was used."""

    def say(value: Any, note: Note) -> Mapping[str, Any]:
        if value != harmless:
            note(f"{name} was {value!r}: {why}")
        return {}

    return Rule("", say, why)


def _model(value: Any, note: Note) -> Mapping[str, Any]:
    """By the hub's name where it is a listed one: then it is found, or can be fetched."""
    if isinstance(value, Link):
        return {"model": value}
    name = hub_models.repository_for(value) or values.OWNERS.get(value, value)
    if name not in hub_models.KNOWN:
        note(f"model {name}: not one that hearth lists; see whether it is answered for.")
    return {"model": name}


def _repository(value: Any, note: Note) -> Mapping[str, Any]:
    """A model typed in takes the place of the picked one."""
    if isinstance(value, Link):
        note("custom_model_repo came from another node; it was left out: pick the model.")
        return {}
    return _model(value.strip(), note) if isinstance(value, str) and value.strip() else {}


def _seed(value: Any, note: Note) -> Mapping[str, Any]:
    """-1 took a seed by chance, and ComfyUI's cache kept the first answer all the same."""
    if value == -1:
        note("seed was -1 (by chance): it is 0 now; let the widget randomize it after each run.")
        return {"seed": 0}
    return {"seed": value}


def _instruction(value: Any, _note: Note) -> Mapping[str, Any]:
    """It took the place of the style there."""
    if isinstance(value, str) and not value.strip():
        return {}
    return {"instruction": value, "style": "Own instruction"}


def _path(value: Any, note: Note) -> Mapping[str, Any]:
    if value:
        note(f"video_path {value!r}: load the video with a node and connect its frames to video.")
    return {}


_COMPILE = dropped("use_torch_compile", False, "hearth's decoding needs no compilation.")
_DEVICE = dropped("device", "auto", "the service computes where it was started.")
_ATTENTION = choice("attention", values.ATTENTIONS)
_NO_ATTENTION = dropped(
    "attention_mode", "auto", "left to the service; Qwen-VL Advanced (Hearth) has attention."
)
_ALL_AILAB: dict[str, Rule] = {
    "model_name": Rule("model", _model),
    "custom_model_repo": Rule("model", _repository),
    "quantization": choice("precision", values.PRECISIONS),
    "max_tokens": same("max_tokens"),
    "keep_model_loaded": same("keep_loaded"),
    "seed": Rule("seed", _seed),
}
_SEES: dict[str, Rule] = {
    "preset_prompt": choice("preset_prompt", values.QUESTIONS),
    "custom_prompt": same("custom_prompt"),
    "image": same("image"),
    "video": same("video"),
}
_CHOOSES: dict[str, Rule] = {
    name: same(name) for name in ("temperature", "top_p", "repetition_penalty")
}
_AILAB = "ComfyUI-QwenVL (1038lab)"
_PICK = ("model_name", "quantization", "attention_mode")
_ASK = ("preset_prompt", "custom_prompt")
_END = ("keep_model_loaded", "seed")

_QWEN_VL = Peer(
    _AILAB,
    "HearthQwenVL",
    (
        (*_PICK, *_ASK, "max_tokens", *_END),
        ("model_name", "quantization", *_ASK, "max_tokens", *_END),
    ),
    ("image", "video"),
    {**_ALL_AILAB, **_SEES, "attention_mode": _NO_ATTENTION},
    {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.2, "frames": 16},
)
_ADVANCED = Peer(
    _AILAB,
    "HearthQwenVLAdvanced",
    (
        (
            *(*_PICK, "use_torch_compile", "device", *_ASK, "max_tokens", "temperature", "top_p"),
            *("num_beams", "repetition_penalty", "frame_count", *_END),
        ),
    ),
    ("image", "video"),
    {
        **_ALL_AILAB,
        **_SEES,
        **_CHOOSES,
        "attention_mode": _ATTENTION,
        "use_torch_compile": _COMPILE,
        "device": _DEVICE,
        "num_beams": same("beams"),
        "frame_count": same("frames"),
    },
)
_ENHANCER = Peer(
    _AILAB,
    "HearthPromptEnhancer",
    (
        (
            *(*_PICK, "use_torch_compile", "device", "prompt_text", "enhancement_style"),
            *("custom_system_prompt", "max_tokens", *_CHOOSES, *_END),
        ),
    ),
    (),
    {
        **_ALL_AILAB,
        **_CHOOSES,
        "attention_mode": _NO_ATTENTION,
        "use_torch_compile": _COMPILE,
        "device": _DEVICE,
        "prompt_text": same("prompt"),
        "enhancement_style": choice("style", values.STYLES),
        "custom_system_prompt": Rule("instruction", _instruction),
    },
)
_SCG_NUMBERS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_SCG_TAIL = ("do_sample", *_SCG_NUMBERS, "max_new_tokens", "seed")
_SCG_RULES: dict[str, Rule] = {
    "system": same("system_prompt"),
    "model": Rule("model", _model),
    "quantization": choice("precision", values.PRECISIONS),
    "attention_mode": _ATTENTION,
    "keep_model_loaded": same("keep_loaded"),
    "bypass": dropped("bypass", False, "when on, a text node takes its place."),
    "do_sample": same("do_sample"),
    **{name: same(name) for name in _SCG_NUMBERS},
    "max_new_tokens": same("max_tokens"),
    "seed": Rule("seed", _seed),
}


def _scg(text: str, more: Mapping[str, Rule], last: tuple[str, ...]) -> Peer:
    head = ("system", text, "model", "quantization")
    old = ("keep_model_loaded", "bypass", "temperature", "max_new_tokens", "seed")
    return Peer(
        "SCG_LocalVLM",
        "HearthQwenVLAdvanced",
        (
            (*head, "attention_mode", "keep_model_loaded", "bypass", *_SCG_TAIL, *last),
            (*head, *old, *last),
        ),
        tuple(name for name in more if name not in (*last, text)),
        {**_SCG_RULES, **more},
    )


_SCG_SEES = _scg(
    "text",
    {
        "text": same("custom_prompt"),
        "image1": same("image"),
        **{f"image{number}": same(f"image{number}") for number in (2, 3, 4)},
        "video_path": Rule("video", _path, "a path; ours takes frames"),
    },
    ("video_path",),
)
_SCG_READS = _scg("prompt", {"prompt": same("custom_prompt")}, ())

# By the names that ComfyUI knows them by. SCG's are known by two names each.
PEERS: dict[str, Peer] = {
    "AILab_QwenVL": _QWEN_VL,
    "AILab_QwenVL_Advanced": _ADVANCED,
    "AILab_QwenVL_PromptEnhancer": _ENHANCER,
    "QwenVL": _SCG_SEES,
    "Qwen2.5VL": _SCG_SEES,
    "Qwen": _SCG_READS,
    "Qwen2.5": _SCG_READS,
}
