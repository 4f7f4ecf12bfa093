"""Writes docs/parameters.md: every parameter of other packs' Qwen nodes and of core's TextGenerate,
and where it is in ours. Our side is made from the node tables, which object_info shows as well.

    python client_py/parameter_page.py          writes the file
    python client_py/parameter_page.py --check  exits with 1 when it is not up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hearth.migrate import PEERS  # noqa: E402
from hearth.nodes import all_nodes  # noqa: E402
from hearth.nodes._schema import Input  # noqa: E402
from made_files import write_or_check  # noqa: E402

PAGE = HERE.parent / "docs" / "parameters.md"
_QUANTIZATION = "None (FP16), 8-bit, 4-bit"
_ATTENTION = "auto, sage, flash_attention_2, sdpa"
_SEED = "1 to 2^32 - 1, 1"
_AILAB = {
    "model_name": "a list",
    "quantization": _QUANTIZATION,
    "attention_mode": _ATTENTION,
    "preset_prompt": "9 presets",
    "custom_prompt": "text",
    "max_tokens": "64 to 2048, 512",
    "keep_model_loaded": "on",
    "seed": _SEED,
    "image": "IMAGE, the first of a batch",
    "video": "IMAGE, 16 frames of it",
}
_SCG = {
    "system": "text",
    "text": "text",
    "model": "a list",
    "quantization": "none, 4bit, 8bit",
    "attention_mode": "sdpa, flash_attention_2, eager",
    "keep_model_loaded": "on",
    "bypass": "off",
    "do_sample": "on",
    "temperature": "0 to 2, 0.7",
    "top_p": "0 to 1, 0.9",
    "top_k": "0 to 200, 50",
    "min_p": "0 to 1, 0",
    "repetition_penalty": "1 to 2, 1",
    "max_new_tokens": "128 to 8000, 512",
    "seed": "-1 by chance",
    "image1": "IMAGE, the first of a batch",
    "image2": "the same",
    "image3": "the same",
    "image4": "the same",
    "video_path": "path of a file",
}
# What each parameter is there, with its default: read from the packs' own declarations.
THEIRS: dict[str, dict[str, str]] = {
    "AILab_QwenVL": _AILAB,
    "AILab_QwenVL_Advanced": {
        **_AILAB,
        "max_tokens": "64 to 4096, 512",
        "use_torch_compile": "off",
        "device": "auto, cpu, mps, each GPU",
        "temperature": "0.1 to 1, 0.6",
        "top_p": "0 to 1, 0.9",
        "num_beams": "1 to 8, 1",
        "repetition_penalty": "0.5 to 2, 1.2",
        "frame_count": "1 to 64, 16",
        "video": "IMAGE",
    },
    "AILab_QwenVL_PromptEnhancer": {
        "model_name": "a list",
        "quantization": _QUANTIZATION,
        "attention_mode": _ATTENTION,
        "use_torch_compile": "off",
        "device": "auto, cuda, cpu, mps",
        "prompt_text": "text",
        "enhancement_style": "6 styles",
        "custom_system_prompt": "text",
        "max_tokens": "32 to 1024, 256",
        "temperature": "0.1 to 1, 0.7",
        "top_p": "0 to 1, 0.9",
        "repetition_penalty": "0.5 to 2, 1.1",
        "keep_model_loaded": "on",
        "seed": _SEED,
    },
    "QwenVL": _SCG,
    "Qwen": {
        "system": "text",
        "prompt": "text",
        **{
            name: said
            for name, said in _SCG.items()
            if not name.startswith(("image", "video", "text", "system"))
        },
    },
}
# Of core's TextGenerate: what it is there, the input of Qwen-VL Advanced, and what to know.
CORE: dict[str, tuple[str, str, str]] = {
    "clip": ("CLIP", "llm", "or LLM as CLIP (Hearth), and core's node stays"),
    "prompt": ("text", "custom_prompt", ""),
    "image": ("IMAGE", "image", ""),
    "video": ("IMAGE, 24 frames a second", "video", "fps says how many a second"),
    "audio": ("AUDIO", "", "refused: no model here hears"),
    "max_length": ("1 to 32768, 512", "max_tokens", ""),
    "sampling_mode": ("on, off", "do_sample", ""),
    "temperature": ("0.01 to 2, 0.7", "temperature", ""),
    "top_k": ("0 to 1000, 64", "top_k", ""),
    "top_p": ("0 to 1, 0.95", "top_p", ""),
    "min_p": ("0 to 1, 0.05", "min_p", ""),
    "repetition_penalty": ("0 to 5, 1.05", "repetition_penalty", "below 0.1 refused"),
    "seed": ("0 to 2^64 - 1, 0", "seed", ""),
    "presence_penalty": ("0 to 5, 0", "presence_penalty", "over 2 refused"),
    "thinking": ("off", "thinking", "core's switch: as the model can"),
    "use_default_template": ("on", "", "off is refused: the model's own layout is always used"),
}
_HEAD = """# Every parameter, and where it is

Of the nodes that people come from, each parameter with its range and default there, and what takes
it here. `hearth migrate workflow.json` rewrites saved workflows by this table; a workflow that is
queued with such a node, while that pack is not installed, is rewritten by it too, and ComfyUI from
0.33 offers it in the browser. What has no place here says why, and the rewriting reports it where
it was in use.

Written by `client_py/parameter_page.py`; tests/python/test_parameters.py tries every row.
"""
_TITLES = {
    "AILab_QwenVL": "ComfyUI-QwenVL (1038lab): QwenVL",
    "AILab_QwenVL_Advanced": "ComfyUI-QwenVL (1038lab): QwenVL (Advanced)",
    "AILab_QwenVL_PromptEnhancer": "ComfyUI-QwenVL (1038lab): QwenVL Prompt Enhancer",
    "QwenVL": "SCG_LocalVLM: QwenVL, also known as Qwen2.5VL",
    "Qwen": "SCG_LocalVLM: Qwen, also known as Qwen2.5",
}
OURS = {node.node_id: node for node in all_nodes()}


def _range(one: Input) -> str:
    """Range and default as the widget has them."""
    options = one.options
    if one.kind == "COMBO" and one.choices is not None:
        if one.name in ("model", "preset_prompt", "style", "language"):
            return "a list"
        return ", ".join(one.choices())
    if one.kind == "BOOLEAN":
        return "on" if options.get("default") else "off"
    if "min" in options:
        high = "2^64 - 1" if options["max"] == 2**64 - 1 else options["max"]
        return f"{options['min']} to {high}, {options['default']}"
    return "text" if one.kind == "STRING" else one.kind


def _input(node_id: str, name: str) -> Input:
    return next(one for one in OURS[node_id].inputs if one.name == name)


def _table(rows: list[tuple[str, str, str, str, str]]) -> list[str]:
    head = ("parameter", "there", "here", "range, default", "to know")
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|---|---|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def _peer_rows(name: str) -> list[tuple[str, str, str, str, str]]:
    peer, rows = PEERS[name], []
    for parameter, there in THEIRS[name].items():
        rule = peer.rules[parameter]
        if not rule.goes_to:
            rows.append((parameter, there, "–", "", rule.why))
        else:
            here = _range(_input(peer.target, rule.goes_to))
            rows.append((parameter, there, f"**{rule.goes_to}**", here, rule.why))
    return rows


def _core_rows() -> list[tuple[str, str, str, str, str]]:
    rows = []
    for parameter, (there, name, known) in CORE.items():
        here = _range(_input("HearthQwenVLAdvanced", name)) if name else ""
        rows.append((parameter, there, f"**{name}**" if name else "–", here, known))
    return rows


def page() -> str:
    """The whole page."""
    lines = [_HEAD]
    for name, title in _TITLES.items():
        peer = PEERS[name]
        lines += [f"## {title}", "", f"→ {OURS[peer.target].display_name}", ""]
        lines += [*_table(_peer_rows(name)), ""]
        if peer.fixed:
            said = ", ".join(f"{key} {value}" for key, value in peer.fixed.items())
            lines += [f"What that node does without asking is set: {said}.", ""]
    lines += ["## ComfyUI: Generate Text (TextGenerate)", ""]
    lines += [f"→ {OURS['HearthQwenVLAdvanced'].display_name}", "", *_table(_core_rows()), ""]
    lines += ["## What ours have", ""]
    for node in OURS.values():
        lines += [f"**{node.display_name}** (`{node.node_id}`): "]
        names = [f"{one.name} ({_range(one)})" for one in node.inputs]
        lines[-1] += "; ".join(names) + "."
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check({PAGE: page()}))
