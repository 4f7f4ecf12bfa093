"""Whether a model's files are whole: without a service, without torch, nothing is loaded.

A safetensors file says in its header where each tensor lies; sizes that do not fit show a download
that was cut off. An index names the file of each tensor. Digests, where the hub's are known, find
what sizes cannot.
"""

from __future__ import annotations

import json
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from . import errors, hub_digests, hub_transfer

INDEX = "model.safetensors.index.json"
_HEADER_LIMIT_BYTES = 100 << 20
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
OnBytes = Callable[[str, int, int], None]  # file, bytes read, bytes of all


@dataclass
class FileFound:
    """One file. problem: "" where it is whole; digest: right, wrong, or unknown."""

    name: str
    nbytes: int
    problem: str = ""
    tensors: int = 0
    digest: str = "unknown"


@dataclass
class ModelFound:
    """A folder or a single file, and what is wrong with it as a whole."""

    path: Path
    files: list[FileFound]
    problems: list[str]

    @property
    def is_whole(self) -> bool:
        """Nothing is wrong with it, as far as can be known."""
        return not self.problems and not any(file.problem for file in self.files)


def check(path: Path, with_digests: bool = True, on_bytes: OnBytes | None = None) -> ModelFound:
    """Looks at all of a model. Raises BadModel when there is none."""
    if path.is_file():
        folder, names = path.parent, [path.name]
    elif path.is_dir():
        folder, names = path, sorted(one.name for one in path.iterdir() if _belongs(one))
    else:
        raise errors.BadModel(f"There is no file or folder {path}.", "Check the path.")
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        raise errors.BadModel(f"{path} holds no .safetensors file.", "Name a model's folder.")
    tensors: dict[str, set[str]] = {}
    files = [_looked_at(folder / name, tensors) for name in names]
    problems = [] if path.is_file() else _of_folder(folder, set(names), tensors)
    if with_digests:
        _compare(folder, files, on_bytes)
    return ModelFound(path, files, problems)


def header_of(path: Path) -> tuple[dict[str, Any], int]:
    """(tensors by name, where their bytes begin). Raises BadModel, saying what does not fit."""
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(8)
        if len(raw) < 8:
            raise errors.BadModel(f"{size} bytes: it ends before its header's length.", "")
        length = struct.unpack("<Q", raw)[0]
        if length > min(_HEADER_LIMIT_BYTES, size - 8):
            raise errors.BadModel(f"Its header would have {length} bytes; the file has {size}.", "")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise errors.BadModel(f"Its header is no JSON: {error}.", "") from error
    if not isinstance(header, dict):
        raise errors.BadModel("Its header is no JSON object.", "")
    header.pop("__metadata__", None)
    return header, 8 + length


def _looked_at(path: Path, tensors: dict[str, set[str]]) -> FileFound:
    found = FileFound(path.name, path.stat().st_size)
    try:
        if path.name.endswith(".safetensors"):
            header, start = header_of(path)
            tensors[path.name] = set(header)
            found.tensors = len(header)
            found.problem = _misfit(header, found.nbytes - start)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except errors.BadModel as error:
        found.problem = error.what
    except (ValueError, OSError, RecursionError) as error:
        found.problem = f"it cannot be read: {error}"
    return found


def _misfit(header: dict[str, Any], nbytes: int) -> str:
    """What the header says against what the file has; "" when they agree."""
    try:
        spans = sorted((*one["data_offsets"], name) for name, one in header.items())
        end = 0
        for begin, after, name in spans:
            one = header[name]
            bits = _BITS.get(one["dtype"])
            if bits is None:
                return f"{name} is of the unknown type {one['dtype']}"
            count = 1
            for length in one["shape"]:
                count *= int(length)
            if begin != end or (after - begin) * 8 != count * bits:
                return f"{name} lies at {begin} to {after}, which does not fit its shape or place"
            end = after
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return f"its header is damaged: {type(error).__name__}: {error}"
    if nbytes < end:
        return f"it ends {end - nbytes} bytes too early"
    return f"{nbytes - end} bytes too many follow its last tensor" if nbytes > end else ""


def _of_folder(folder: Path, names: set[str], tensors: dict[str, set[str]]) -> list[str]:
    problems = []
    if "config.json" not in names:
        problems.append("config.json is missing")
    if not any(all(one in names for one in group) for group in _TOKENIZERS):
        problems.append("the tokenizer is missing: tokenizer.json")
    problems += _missing_shards(names)
    if INDEX in names:
        problems += _against_index(folder, names, tensors)
    problems += [f"{one.name} is a download that was not finished" for one in folder.glob("*.part")]
    return problems


def _missing_shards(names: set[str]) -> list[str]:
    wanted = set()
    for found in filter(None, map(_SHARD.fullmatch, names)):
        stem, _, count = found.groups()
        wanted |= {f"{stem}-{n:05}-of-{count}.safetensors" for n in range(1, int(count) + 1)}
    return [f"{name} is missing" for name in sorted(wanted - names)]


def _against_index(folder: Path, names: set[str], tensors: dict[str, set[str]]) -> list[str]:
    try:
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        places = {name: str(file) for name, file in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{INDEX} names no files"]
    files = set(places.values())
    shards = {name for name in names if _SHARD.fullmatch(name)}
    problems = [f"{name}, which the index names, is missing" for name in sorted(files - names)
                if not _SHARD.fullmatch(name)]  # fmt: skip
    absent = [name for name, file in places.items() if name not in tensors.get(file, {name})]
    if absent:
        problems.append(f"{len(absent)} tensors are not where the index says: {absent[0]}")
    unnamed = set().union(*(tensors.get(file, set()) for file in shards)) - set(places)
    if unnamed:
        problems.append(f"{len(unnamed)} tensors are not in the index: {min(unnamed)}")
    return problems


def _compare(folder: Path, files: list[FileFound], on_bytes: OnBytes | None) -> None:
    known = hub_digests.known(folder)
    total = sum(file.nbytes for file in files if file.name in known)
    done = 0
    for file in files:
        listed = known.get(file.name)
        if listed is None:
            continue
        if listed.nbytes < 0:
            listed = hub_transfer.HubFile(listed.name, file.nbytes, listed.sha256, listed.blob_id)

        def moved(nbytes: int, name: str = file.name, before: int = done) -> None:
            if on_bytes is not None:
                on_bytes(name, before + nbytes, total)

        right = file.nbytes == listed.nbytes and hub_transfer.matches(
            folder / file.name, listed, (moved, threading.Event())
        )
        file.digest = "right" if right else "wrong"
        if not right and not file.problem:
            is_size = file.nbytes != listed.nbytes
            file.problem = (
                f"it has {file.nbytes} bytes, the hub lists {listed.nbytes}" if is_size
                else "its bytes are not those that the hub lists"
            )  # fmt: skip
        done += file.nbytes


def _belongs(path: Path) -> bool:
    is_ours = path.suffix in (".safetensors", ".json", ".txt", ".jinja")
    return is_ours and not path.name.startswith(".") and path.is_file()
