"""What lies in model folders, by the names of files alone: no file is opened.

Each folder's listing is kept and read again only when the folder's own time of change says so, so
that looking once more costs one `stat` a folder. A folder that lies inside itself by a link is not
entered twice. For one thread at a time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEPTH = 3  # LLM/<pack>/<owner>/<name>
MOST_FOLDERS = 2000  # below one root: a link to a whole disk must not stop ComfyUI

_SETTLED_NS = 2_000_000_000  # file systems count time in steps: a younger change may be repeated
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
_REFUSED = (".gguf", ".bin", ".pt", ".pth", ".ckpt")
_TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Found:
    """A model, or what looks like one: a folder or a single file.

    problem: why it cannot be picked; empty when it can
    """

    path: Path
    problem: str = ""


@dataclass(frozen=True)
class _Listing:
    """Names in one folder. `key` is its identity, (device, inode)."""

    changed_ns: int
    key: tuple[int, int]
    folders: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    problem: str = ""
    is_settled: bool = False


class Scanner:
    """Looks below root folders, and remembers what it has read."""

    def __init__(self) -> None:
        self._listings: dict[str, _Listing] = {}
        self._used: set[str] = set()
        self.read_count = 0  # folders that were read, not only asked for their time

    def begin(self) -> None:
        """A new look at all roots."""
        self._used.clear()

    def end(self) -> None:
        """Forgets the folders that no root leads to."""
        self._listings = {path: self._listings[path] for path in self._used}

    def folders_in(self, folder: Path) -> tuple[str, ...]:
        """Names of the folders directly inside; none where it cannot be read."""
        listing = self._list(str(folder))
        return listing.folders if listing else ()

    def models_below(self, root: Path, encoders_only: bool) -> Iterator[Found]:
        """Models below a root folder, nearest first, then by name.

        encoders_only: the root is for diffusion models, of which language models are a part: a
        folder `text_encoder`, or one that brings a tokenizer; no single files.
        """
        waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(str(root), ())]
        opened = 0
        while waiting:
            folder, above = waiting.pop(0)
            listing = self._list(folder)
            if listing is None or listing.key in above:
                continue
            opened += 1
            if opened > MOST_FOLDERS:
                yield Found(root, f"more than {MOST_FOLDERS} folders: the others were not searched")
                return
            found, is_model = _judge(folder, listing, encoders_only, is_root=not above)
            yield from found
            if not is_model and len(above) < DEPTH:
                inside = (*above, listing.key)
                waiting += [(os.path.join(folder, name), inside) for name in listing.folders]

    def _list(self, folder: str) -> _Listing | None:
        """None where there is no such folder."""
        self._used.add(folder)
        known = self._listings.get(folder)
        try:
            status = os.stat(folder)
        except OSError:
            self._used.discard(folder)
            return None
        key = (status.st_dev, status.st_ino)
        if (
            known
            and known.is_settled
            and (known.changed_ns, known.key) == (status.st_mtime_ns, key)
        ):
            return known
        self.read_count += 1
        self._listings[folder] = listing = _read(folder, status.st_mtime_ns, key)
        return listing


def _read(folder: str, changed_ns: int, key: tuple[int, int]) -> _Listing:
    folders, files = [], set()
    # A link that leads nowhere may lead somewhere later, and this folder would not tell.
    is_settled = time.time_ns() - changed_ns > _SETTLED_NS
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files.add(entry.name)
                else:
                    is_settled = False
    except OSError as error:
        return _Listing(
            changed_ns, key, problem=f"cannot be read: {(error.strerror or '').lower()}"
        )
    return _Listing(changed_ns, key, tuple(sorted(folders)), frozenset(files), "", is_settled)


def _judge(
    folder: str, listing: _Listing, encoders_only: bool, is_root: bool
) -> tuple[list[Found], bool]:
    """The models that this folder is or holds as single files, and whether it is one itself."""
    here, files = Path(folder), listing.files
    if listing.problem:
        return [Found(here, listing.problem)], False
    if not files or (encoders_only and not _is_encoder(here.name, files)):
        return [], False
    weights = sorted(name for name in files if _is_weights(name))
    has_config = "config.json" in files and not is_root
    if has_config and not weights:
        refused = sorted(name for name in files if name.endswith(_REFUSED))
        problem = f"holds {refused[0]}, but no .safetensors file" if refused else ""
        return ([Found(here, problem)] if problem else []), bool(problem)
    missing = _missing_shards(weights)
    if has_config:
        return [Found(here, missing)], True
    if encoders_only:
        return [], False
    single = [Found(here / name) for name in weights if not _SHARD.fullmatch(name)]
    if len(single) < len(weights):
        single.append(Found(here, "holds a model in parts, but no config.json"))
    return single, False


def _is_weights(name: str) -> bool:
    # What diffusers calls its own networks, in a folder that has a config.json as well.
    return name.endswith(".safetensors") and not name.startswith("diffusion_pytorch_model")


def _is_encoder(name: str, files: frozenset[str]) -> bool:
    return name.startswith("text_encoder") or not files.isdisjoint(_TOKENIZERS)


def _missing_shards(names: list[str]) -> str:
    """What lacks of `model-00001-of-00004.safetensors`, or nothing."""
    sets: dict[tuple[str, int], set[int]] = {}
    for name in names:
        part = _SHARD.fullmatch(name)
        if part:
            sets.setdefault((part[1], int(part[3])), set()).add(int(part[2]))
    for (stem, count), parts in sets.items():
        absent = [at for at in range(1, count + 1) if at not in parts]
        if absent:
            first = f"{stem}-{absent[0]:05d}-of-{count:05d}.safetensors"
            return f"lacks {len(absent)} of its {count} parts, first {first}"
    return ""
