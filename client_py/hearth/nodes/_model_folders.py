"""The models that lie in ComfyUI's model folders, by the names a user picks them by.

A name is the kind of folder and the path inside it: `LLM/Qwen3-VL-2B-Instruct` is a Hugging Face
folder, `text_encoders/qwen3vl_4b.safetensors` a single file. Of two models with one name the first
in ComfyUI's own order counts. A bare name (`Qwen3-VL-2B-Instruct`) is the model whose folder is
called so, else one that the service publishes itself (`ember`). `Qwen/Qwen3-VL-2B-Instruct`, as the
hub writes it, is that folder too, and can be fetched where it is missing. Names come from names of
files: no model is opened, the service is never asked, and a list is kept for a second, because
ComfyUI asks several times per workflow. What cannot be picked is kept with its reason; *Hearth
Models* shows it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import comfy_api, errors
from ..hub_models import KNOWN, ORIGIN, is_repository
from ._model_scan import Found, Scanner

EMBEDDED = "ember"

_KEEP_SECONDS = 1.0
_LANGUAGE_KIND = re.compile(r"llm|vlm|qwen|prompt_generator", re.IGNORECASE)
_DIFFUSION_KINDS = ("diffusion_models", "diffusers")
_DECLARED = ("LLM", "text_encoders", *_DIFFUSION_KINDS)
_TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json")
# In the layout of diffusers: what belongs to `text_encoder` and lies in the folders beside it.
_BESIDE_AN_ENCODER = {
    "tokenizer": ("tokenizer.json", *_TOKENIZER, "chat_template.jinja", "chat_template.json"),
    "processor": ("preprocessor_config.json", "video_preprocessor_config.json"),
}


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the name of a public model, a folder, or files by label."""

    model: str | Path | dict[str, Path]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """What one look at the disk found; nobody changes it. begun, until: seconds of
    `time.monotonic`; from when on and how long it counts."""

    begun: float = float("-inf")
    until: float = float("-inf")
    kinds: frozenset[str] = frozenset()
    found: Mapping[str, Path] = field(default_factory=dict)
    refused: tuple[tuple[str, Found], ...] = ()


class ModelFolders:
    """The models found in ComfyUI's folders. For any thread: ComfyUI's server asks for lists while
    its worker looks models up. One of them looks at the disk at a time, and what it has found is
    published as a whole."""

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._looking = threading.Lock()  # whose holder uses the scanner
        self._seen = _Seen()
        self._stale_at = float("-inf")

    def names(self) -> list[str]:
        """Every name there is to pick: the embedded model first."""
        return [EMBEDDED, *sorted(self._look().found, key=str.casefold)]

    def look_again(self) -> None:
        """What is known is not taken for granted any more."""
        self._stale_at = time.monotonic()

    def found(self) -> dict[str, Path]:
        """Name: place of every model that lies in a folder."""
        return dict(self._look().found)

    def refused(self) -> list[tuple[str, Found]]:
        """Name and reason of what looks like a model and cannot be picked."""
        return list(self._look().refused)

    def find(self, name: str) -> Source:
        """What to offer to the service for a picked name.

        Raises UnknownModel, with what to do, for a path that is in no model folder.
        """
        path = self.path_of(name)
        if path is None and is_bare(name):
            return Source(name)
        if path is None or not path.exists():
            raise self._missing(name)
        if path.is_dir():
            files = {entry.name: entry for entry in path.iterdir()}
            return _with_tokenizer({**_beside_encoder(path), **files}, path, len(files))
        return _with_tokenizer({path.name: path}, None, 1)

    def has(self, name: str) -> bool:
        """Whether a path is in a model folder; a bare name is for the service to judge, one of
        the hub's can be fetched."""
        return is_bare(name) or self.path_of(name) is not None or self.is_repository(name)

    def choices(self) -> list[str]:
        """`names`, and the repositories of the hub whose models could be fetched."""
        here = {path.name for path in self._look().found.values()}
        missing = [known.repository for known in KNOWN.values() if known.name not in here]
        return [*self.names(), *missing]

    def is_repository(self, name: str) -> bool:
        """Whether a name is one of the hub's, owner/name, and of no folder of ours."""
        is_one = is_repository(name) and not name.endswith(".safetensors")
        return is_one and _has_owner(name, self._look())

    def path_of(self, name: str) -> Path | None:
        """The folder or file that a name stands for; None for what is in no model folder."""
        found = _look_up(name, self._look())
        if found is None and name != EMBEDDED:
            self.look_again()  # it may have come since the list was made
            found = _look_up(name, self._look())
        return found

    def obstacle(self, name: str, place: Path | None = None) -> errors.HearthError | None:
        """Why a model that is there cannot be used, by our name or the hub's; None where none is
        there. place: only the folder there counts"""
        seen = self._look()
        by_last = is_bare(name) or _has_owner(name, seen)
        for refused, found in seen.refused:
            is_meant = refused == name or (by_last and found.path.name == name.rpartition("/")[2])
            if is_meant and place in (None, found.path):
                which = "it" if refused == name else str(found.path)
                return errors.UnknownModel(
                    f"The model {name!r} cannot be used: {which} {found.problem}.",
                    "Put what is missing into its folder, move that folder away to have it fetched"
                    " anew, or pick another model; Hearth Models lists them all.",
                )
        return None

    def complaint(self, name: str) -> str:
        """What is wrong with a name that is in no model folder, and what to do."""
        return str(self._missing(name))

    def _missing(self, name: str) -> errors.HearthError:
        return self.obstacle(name) or errors.UnknownModel(
            f"The model {name!r} is in none of ComfyUI's model folders.",
            "Put its folder (config.json and *.safetensors) into models/LLM, or its single"
            " .safetensors file into models/text_encoders, or pick another model; Hearth Models"
            " lists them all.",
        )

    def _look(self) -> _Seen:
        """What is known, after a look at the disk where that is too old."""
        seen = self._seen
        if self._counts(seen):
            return seen
        with self._looking:
            if not self._counts(self._seen):  # nor did another thread look meanwhile
                self._seen = self._search()
            return self._seen

    def _counts(self, seen: _Seen) -> bool:
        return seen.begun > self._stale_at and time.monotonic() < seen.until

    def _search(self) -> _Seen:
        begun = time.monotonic()
        places: dict[str, Path] = {}
        refused: list[tuple[str, Found]] = []
        self._scanner.begin()
        roots = list(_roots(self._scanner))
        for kind, root in roots:
            for found in self._scanner.models_below(root, kind in _DIFFUSION_KINDS):
                name = f"{kind}/{found.path.relative_to(root).as_posix()}"
                if found.problem:
                    refused.append((name, found))
                elif name in places:
                    taken = f"has the name of {places[name]}, which is taken"
                    refused.append((name, Found(found.path, taken)))
                else:
                    places[name] = found.path
        self._scanner.end()
        kinds = frozenset((*_DECLARED, *(kind for kind, _ in roots)))
        return _Seen(begun, time.monotonic() + _KEEP_SECONDS, kinds, places, tuple(refused))


def _look_up(name: str, seen: _Seen) -> Path | None:
    if name in seen.found or name == EMBEDDED:
        return seen.found.get(name)
    owner, _, last = name.rpartition("/")
    if owner and not _has_owner(name, seen):
        return None
    same = (path for path in seen.found.values() if path.name == last)
    return next((path for path in same if not owner or origin_of(path) in ("", name)), None)


def _has_owner(name: str, seen: _Seen) -> bool:
    """Whether a name is owner/name as the hub writes it, and not kind/name as we do."""
    owner, _, rest = name.partition("/")
    return name in KNOWN or ("/" in name and "/" not in rest and owner not in seen.kinds)


FOLDERS = ModelFolders()  # of this ComfyUI: every node looks here


def is_bare(name: str) -> bool:
    """Whether a name says nothing of a place."""
    return bool(name) and "/" not in name and not name.endswith(".safetensors")


def _roots(scanner: Scanner) -> Iterator[tuple[str, Path]]:
    """(kind, folder), each folder once. Packs keep language models in folders that ComfyUI does not
    declare (LLM, VLM, prompt_generator), so those are also looked for beside the declared ones."""
    encoders = comfy_api.model_folders("text_encoders")
    diffusion = {kind: comfy_api.model_folders(kind) for kind in _DIFFUSION_KINDS}
    declared = [kind for kind in comfy_api.model_kinds() if _LANGUAGE_KIND.search(kind)]
    languages = [(kind, folder) for kind in declared for folder in comfy_api.model_folders(kind)]
    around = [
        folder.parent for folder in (*encoders, *(f for fs in diffusion.values() for f in fs))
    ]
    for parent in dict.fromkeys(around):
        names = [name for name in scanner.folders_in(parent) if _LANGUAGE_KIND.search(name)]
        languages += [(name, parent / name) for name in sorted(names, key=_llm_first)]
    roots = [*languages, *(("text_encoders", folder) for folder in encoders)]
    roots += [(kind, folder) for kind, folders in diffusion.items() for folder in folders]
    seen = set()
    for kind, folder in roots:
        place = os.path.realpath(folder)
        if place not in seen:
            seen.add(place)
            yield kind, folder


def origin_of(path: Path) -> str:
    """The repository that a folder was fetched from, as `hearth.hub` wrote it; empty if unknown."""
    try:
        return (path / ORIGIN).read_text(encoding="utf-8").partition("@")[0]
    except (OSError, ValueError):
        return ""


def _llm_first(name: str) -> tuple[bool, str]:
    return name != "LLM", name


def _beside_encoder(folder: Path) -> dict[str, Path]:
    """Tokenizer and processor for `<repository>/text_encoder`; for text_encoder_2, tokenizer_2."""
    if not folder.name.startswith("text_encoder"):
        return {}
    number = folder.name.removeprefix("text_encoder")
    places = [
        (folder.parent / (place + number), names) for place, names in _BESIDE_AN_ENCODER.items()
    ]
    return {name: at / name for at, names in places for name in names if (at / name).is_file()}


def _with_tokenizer(files: dict[str, Path], folder: Path | None, own: int) -> Source:
    """The model as it lies there, or with a tokenizer from elsewhere where it has none of its own.

    own: how many of the files lie in the folder itself
    """
    if "tokenizer.json" in files or "vocab.json" in files:
        if len(files) > own:
            return Source(_model_files(files))
        return Source(folder) if folder else Source(files)
    theirs = comfy_api.tokenizer_folder()
    if theirs is None:
        return Source(folder) if folder else Source(files)
    added = {label: theirs / label for label in _TOKENIZER if (theirs / label).exists()}
    where = f"The folder {folder.name}" if folder else f"The file {next(iter(files))}"
    remark = f"{where} has no tokenizer of its own: ComfyUI's Qwen2.5 tokenizer is used."
    return Source({**added, **_model_files(files)}, (remark,))


def _model_files(files: dict[str, Path]) -> dict[str, Path]:
    return {label: path for label, path in files.items() if _is_model_file(path)}


def _is_model_file(path: Path) -> bool:
    return path.suffix in (".safetensors", ".json", ".txt", ".jinja") and path.is_file()
