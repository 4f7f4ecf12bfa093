"""Fetches libtorch, unpacks what the engine needs, proves that it loads, moves it into place.

Can be ended at any time and run again: what was fetched is kept, what was unpacked is made anew
beside the final folder, which appears whole or not at all. One process a folder.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from .. import errors, hub_transfer
from ..units import amount
from . import Check, Plan, Wheel, check

Progress = Callable[[str, int, int], None]  # file, bytes of all that are there, bytes of all
_SPARE_BYTES = 64 << 20  # that stay free


def bring(plan: Plan, engine: Path, mirror: str | None, progress: Progress) -> Check:
    """Does it, and returns what the engine says with it.

    mirror: where the files lie by their names instead, an address
    Raises BadRequest (no room, not writable, at work elsewhere), NotReachable, BadModel (a digest
    that is not the pinned one), Unsupported (the engine does not load it).
    """
    with _alone(plan):
        _check_room(plan)
        _fetch(plan, mirror, progress)
        staging = plan.root / f".{plan.version}.partial"
        _remove(staging)
        for wheel in plan.wheels:
            progress(f"unpacking {wheel.name}", 0, 0)
            _unpack(plan.part(wheel), wheel, staging)
        checked = check(engine, "auto" if plan.variant == "cuda" else "cpu", staging)
        if not checked.works:
            _remove(staging)
            raise errors.Unsupported(
                f"libtorch {plan.version} is there, but the engine does not work with it: "
                f"{checked.says}",
                f"The files stay in {plan.downloads}; nothing else was changed.",
            )
        (staging / "variant").write_text(plan.variant + "\n")
        _into_place(staging, plan.folder)
        _remove(plan.downloads)
        return checked


def variant_in(folder: Path) -> str:
    """Which one is in place there; empty: none."""
    try:
        return (folder / "variant").read_text().strip()
    except OSError:
        return ""


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    try:
        plan.downloads.mkdir(parents=True, exist_ok=True)
        lock = os.open(plan.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise errors.BadRequest(
            f"{plan.root} cannot be written: {error.strerror}.",
            "Run it as root for the whole machine, or as the user that hearthd runs as.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise errors.BadRequest(
            f"Another hearth setup is at work in {plan.root}.", "Wait until it has ended."
        ) from error
    else:
        yield
    finally:
        os.close(lock)


def _check_room(plan: Plan) -> None:
    needed = plan.download_bytes + plan.unpacked_bytes + _SPARE_BYTES
    free = shutil.disk_usage(plan.root).free
    if free < needed:
        raise errors.BadRequest(
            f"{plan.root} has {amount(free)} free, and {amount(needed)} are needed: "
            f"{amount(plan.download_bytes)} to fetch, {amount(plan.unpacked_bytes)} unpacked.",
            "Make room there, or take another folder as an ordinary user with XDG_DATA_HOME.",
        )


def _fetch(plan: Plan, mirror: str | None, progress: Progress) -> None:
    total = sum(wheel.nbytes for wheel in plan.wheels)
    done = 0
    for wheel in plan.wheels:
        before = done

        def watch(nbytes: int, name: str = wheel.name, before: int = before) -> None:
            progress(name, before + nbytes, total)

        url = f"{mirror.rstrip('/')}/{wheel.name}" if mirror else wheel.url
        _fetch_one(url, plan, wheel, watch)
        done += wheel.nbytes
        progress(wheel.name, done, total)


def _fetch_one(url: str, plan: Plan, wheel: Wheel, watch: Callable[[int], None]) -> None:
    file = hub_transfer.HubFile(wheel.name, wheel.nbytes, wheel.sha256, "")
    try:
        hub_transfer.bring(url, {}, file, plan.part(wheel), (watch, threading.Event()))
    except errors.UnknownModel as error:
        raise errors.NotReachable(
            f"{url} is not there.", "Look at the network, or name another place with --mirror."
        ) from error
    except errors.BadModel as error:
        raise errors.BadModel(
            f"{url} is not the file that is pinned (sha256 {wheel.sha256}). It was thrown away.",
            "Run it again; if it stays so, somebody between you and the index changes files.",
        ) from error


# Names in an archive are not trusted further than the patterns go: none may leave the folder.
def _unpack(archive: Path, wheel: Wheel, into: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = member.filename
            wanted = _matches(name, wheel.keep) and not _matches(name, wheel.leave)
            if not wanted or member.is_dir():
                continue
            if name.startswith("/") or ".." in name.split("/"):
                raise errors.BadModel(f"{archive.name} has a file {name!r}.", "It is not unpacked.")
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as packed, open(target, "wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
            target.chmod(0o755 if ".so" in target.name else 0o644)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


# An engine that runs has the old files open and keeps them.
def _into_place(staging: Path, folder: Path) -> None:
    former = folder.with_name(f".{folder.name}.former")
    _remove(former)
    if folder.exists():
        folder.rename(former)
    staging.rename(folder)
    _remove(former)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
