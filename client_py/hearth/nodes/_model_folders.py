"""The models that lie in ComfyUI's model folders, by the names a user picks them by.

A name is the kind of folder and the path inside it: `LLM/Qwen3-VL-2B-Instruct` is a Hugging Face
folder, `text_encoders/qwen3vl_4b.safetensors` a single file. A bare name (`ember`) is a model that
the service publishes itself. Only folders are read here: no model file is opened, the service is
never asked, and an answer is kept for two seconds, because ComfyUI asks several times per workflow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import comfy_api, errors

EMBEDDED = "ember"

_KEEP_SECONDS = 2.0
_DEPTH = 3  # LLM/<owner>/<name>
_MOST_FOLDERS = 2000  # a link to a whole disk must not stop ComfyUI
_TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the name of a public model, a folder, or files by label."""

    model: str | Path | dict[str, Path]
    remarks: tuple[str, ...] = ()


class ModelFolders:
    """The models found in ComfyUI's folders. For one thread at a time, as ComfyUI asks."""

    def __init__(self) -> None:
        self._found: dict[str, Path] = {}
        self._fresh_until = float("-inf")

    def names(self) -> list[str]:
        """Every name there is to pick: the embedded model first."""
        return [EMBEDDED, *sorted(self._models(), key=str.casefold)]

    def find(self, name: str) -> Source:
        """What to offer to the service for a picked name.

        Raises UnknownModel, with what to do, for a path that is in no model folder.
        """
        if _is_public(name):
            return Source(name)
        path = self._path(name)
        if path is None or not path.exists():
            raise _missing(name)
        if path.is_dir():
            return _with_tokenizer({entry.name: entry for entry in path.iterdir()}, path)
        return _with_tokenizer({path.name: path}, None)

    def has(self, name: str) -> bool:
        """Whether a path is in a model folder; a public name is for the service to judge."""
        return _is_public(name) or self._path(name) is not None

    def _path(self, name: str) -> Path | None:
        if name not in self._models():
            self._fresh_until = float("-inf")  # it may have come since the list was made
        return self._models().get(name)

    def _models(self) -> dict[str, Path]:
        now = time.monotonic()
        if now >= self._fresh_until:
            self._found = dict(_search())
            self._fresh_until = time.monotonic() + _KEEP_SECONDS
        return self._found


def complaint(name: str) -> str:
    """What is wrong with a name that is in no model folder, and what to do."""
    return str(_missing(name))


def _missing(name: str) -> errors.HearthError:
    return errors.UnknownModel(
        f"The model {name!r} is in none of ComfyUI's model folders.",
        "Put its folder (config.json and *.safetensors) into models/LLM, or its single .safetensors"
        " file into models/text_encoders, or pick another model.",
    )


def _is_public(name: str) -> bool:
    return bool(name) and "/" not in name and not name.endswith(".safetensors")


def _search() -> Iterator[tuple[str, Path]]:
    """Names and paths; of two models with one name, the first in ComfyUI's own order."""
    seen = set()
    for kind, root in _roots():
        for path in _models_below(root, single_files=kind != "diffusion_models"):
            name = f"{kind}/{path.relative_to(root).as_posix()}"
            if name not in seen:
                seen.add(name)
                yield name, path


def _roots() -> list[tuple[str, Path]]:
    """(kind, folder). ComfyUI declares no folder `LLM`, so it is also looked for beside others."""
    encoders = comfy_api.model_folders("text_encoders")
    diffusion = comfy_api.model_folders("diffusion_models")
    beside = [folder.parent / "LLM" for folder in diffusion + encoders]
    languages = list(dict.fromkeys(comfy_api.model_folders("LLM") + beside))
    by_kind = {"LLM": languages, "text_encoders": encoders, "diffusion_models": diffusion}
    return [(kind, folder) for kind, folders in by_kind.items() for folder in folders]


def _models_below(root: Path, single_files: bool) -> Iterator[Path]:
    """Folders with config.json and *.safetensors, and such files outside of such folders."""
    waiting = [(root, 0)]
    opened = 0
    while waiting and opened < _MOST_FOLDERS:
        folder, depth = waiting.pop(0)
        opened += 1
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # absent or not ours to read
        weights = [entry for entry in entries if entry.name.endswith(".safetensors")]
        if weights and any(entry.name == "config.json" for entry in entries) and folder != root:
            yield folder
            continue
        if single_files:
            yield from (Path(entry.path) for entry in weights)
        if depth < _DEPTH:
            waiting += [
                (Path(e.path), depth + 1) for e in entries if e.is_dir() and e.name[0] != "."
            ]


def _with_tokenizer(files: dict[str, Path], folder: Path | None) -> Source:
    """The model as it lies there, or with ComfyUI's tokenizer where it has none of its own."""
    if "tokenizer.json" in files or "vocab.json" in files:
        return Source(folder) if folder else Source(files)
    theirs = comfy_api.tokenizer_folder()
    if theirs is None:
        return Source(folder) if folder else Source(files)
    wanted = {label: path for label, path in files.items() if _is_model_file(path)}
    added = {label: theirs / label for label in _TOKENIZER if (theirs / label).exists()}
    where = f"The folder {folder.name}" if folder else f"The file {next(iter(files))}"
    remark = f"{where} has no tokenizer of its own: ComfyUI's Qwen2.5 tokenizer is used."
    return Source({**added, **wanted}, (remark,))


def _is_model_file(path: Path) -> bool:
    return path.suffix in (".safetensors", ".json", ".txt", ".jinja") and path.is_file()
