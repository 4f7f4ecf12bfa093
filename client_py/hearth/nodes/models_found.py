"""*Hearth Models*: which models lie in ComfyUI's folders, and why another one cannot be picked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..units import size
from ._answer import show
from ._columns import table
from ._model_folders import FOLDERS
from ._schema import Input, Node, Output, Shown

_MOST_CONFIG_BYTES = 1 << 20
_WEIGHTS = ".safetensors"


async def run(trigger: object = None) -> Shown:
    """Looks into the folders; the service is not asked."""
    text = report()
    show(text)
    return Shown((text,), text)


def report() -> str:
    """What can be picked, with its kind as its config.json says it, and what cannot, with why."""
    FOLDERS.look_again()
    rows = [
        (name, _kind(path), size(_weights_bytes(path)), str(path))
        for name, path in sorted(FOLDERS.found().items(), key=lambda item: item[0].casefold())
    ]
    refused = [(name, found.problem) for name, found in FOLDERS.refused()]
    count = f"{len(rows)} models in ComfyUI's folders, and ember, which is built in"
    lines = table(("model", "kind", "weights", "place"), rows)
    lines += table(("cannot be picked", "because it"), refused)
    return "\n".join([count, *lines])


def _kind(path: Path) -> str:
    """model_type, and how its weights are quantised where they are."""
    if path.is_file():
        return "single file"
    config = path / "config.json"
    try:
        if config.stat().st_size > _MOST_CONFIG_BYTES:
            return "? (config.json is too large)"
        said = json.loads(config.read_text(encoding="utf-8"))
        kind = str(said.get("model_type", "?"))
        quantised = (said.get("quantization_config") or {}).get("quant_method")
    except (OSError, ValueError, AttributeError):
        return "? (config.json cannot be read)"
    return f"{kind}, {quantised}" if quantised else kind


def _weights_bytes(path: Path) -> int:
    return sum(_sizes([path] if path.is_file() else path.glob("*" + _WEIGHTS)))


def _sizes(files: list[Path] | Iterator[Path]) -> Iterator[int]:
    for file in files:
        try:
            yield file.stat().st_size
        except OSError:  # gone since it was listed
            continue


NODE = Node(
    node_id="HearthModels",
    display_name="Hearth Models",
    category="Hearth/diagnostics",
    description="Lists the models that lie in ComfyUI's model folders, and what looks like a model"
    " and cannot be picked, with the reason. Runs every time, and without the service.",
    inputs=(
        Input(
            "trigger",
            "*",
            "Anything: the folders are searched after the node connected here has run.",
            optional=True,
        ),
    ),
    outputs=(Output("models", "STRING", "The same text that the node shows."),),
    run=run,
    always_runs=True,
    search_aliases=("hearth", "missing model", "list models", "diagnostics"),
)
