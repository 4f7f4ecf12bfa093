"""What is known of a model's files: the digests that the hub listed when they were fetched.

Three sources, the first that knows a file counts: the note of our own fetch, the notes that
huggingface_hub leaves beside files of a `local_dir`, and the names of files in its cache.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from .hub_transfer import HubFile

NOTE = ".hearth-digests.json"
_BESIDE = ".cache/huggingface/download"
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def write(folder: Path, files: Iterable[HubFile]) -> None:
    """Leaves our note in a folder that was fetched."""
    told = {
        file.name: {"bytes": file.nbytes, "sha256": file.sha256, "blob_id": file.blob_id}
        for file in files
    }
    (folder / NOTE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def known(folder: Path) -> dict[str, HubFile]:
    """The files of a folder that something is known of, by name. nbytes -1: the size is not."""
    found = _of_cache(folder)
    found.update(_of_local_dir(folder))
    found.update(_of_note(folder))
    return found


def _of_note(folder: Path) -> dict[str, HubFile]:
    try:
        told = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return {
            name: HubFile(name, int(one["bytes"]), str(one["sha256"]), str(one["blob_id"]))
            for name, one in told.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _of_local_dir(folder: Path) -> dict[str, HubFile]:
    found = {}
    for note in (folder / _BESIDE).glob("*.metadata"):
        lines = note.read_text(encoding="utf-8", errors="replace").split()
        name = note.name[: -len(".metadata")]
        if len(lines) >= 2 and (file := _of_etag(name, lines[1])):
            found[name] = file
    return found


def _of_cache(folder: Path) -> dict[str, HubFile]:
    """snapshots/COMMIT/NAME is a link to blobs/DIGEST."""
    found = {}
    for path in folder.iterdir():
        if path.is_symlink():
            target = Path(os.readlink(path))
            if target.parent.name == "blobs" and (file := _of_etag(path.name, target.name)):
                found[path.name] = file
    return found


def _of_etag(name: str, etag: str) -> HubFile | None:
    if _SHA256.fullmatch(etag):
        return HubFile(name, -1, etag, "")
    return HubFile(name, -1, "", etag) if _SHA1.fullmatch(etag) else None
