"""Pictures of a folder and the text files beside them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import comfy_api, errors

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
_ALLOWED = "HEARTH_CAPTION_FOLDERS"  # folders, separated as in PATH: nothing outside of them
_ABOUT_ONE = (errno.EISDIR, errno.ENAMETOOLONG)  # errors of writing that leave the others possible
_TRIAL_BYTES = 4096  # a full disk may take a file without bytes


@dataclass(frozen=True)
class Job:
    """One picture and the text file that belongs to it. index: from 1, among all of the folder."""

    picture: Path
    text: Path
    index: int

    def filled(self, template: str) -> str:
        """The template with {name} (without ending), {folder} and {index} filled in; other braces
        stay."""
        filled = template.replace("{name}", self.picture.stem)
        filled = filled.replace("{folder}", self.picture.parent.name)
        return filled.replace("{index}", str(self.index))


def folder_named(text: str, what: str) -> Path:
    """The folder that a user names: a path of its own, or one inside ComfyUI's input folder (what =
    folder) or output folder. Raises BadRequest."""
    text = text.strip().strip('"')
    root = comfy_api.own_folder("input" if what == "folder" else "output")
    path = Path(text).expanduser()
    if not path.is_absolute():
        if root is None:
            raise errors.BadRequest(f"{what} is {text!r}.", "Write the whole path.")
        path = root / path
        if not _is_inside(path, root):
            raise errors.BadRequest(
                f"{what} {text!r} leads out of {root}.", "Write the whole path of that folder."
            )
    allowed = [Path(one) for one in os.environ.get(_ALLOWED, "").split(os.pathsep) if one]
    if allowed and not any(_is_inside(path, one) for one in allowed):
        raise errors.BadRequest(
            f"{what} {path} is not one that this ComfyUI may use.",
            f"Allowed are {', '.join(map(str, allowed))} ({_ALLOWED}) and what is in them.",
        )
    return path


def _is_inside(path: Path, root: Path) -> bool:
    real, top = os.path.realpath(path), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def jobs_in(folder: Path, output: Path | None, recursive: bool) -> tuple[list[Job], list[str]]:
    """All pictures with their text files, sorted by path, and what is wrong with the others.

    Of pictures that would share a text file (a.png, a.jpg) only the first has it. Raises BadRequest
    when the folder cannot be read.
    """
    try:
        pictures = sorted(_pictures(folder, recursive))
    except OSError as error:
        raise errors.BadRequest(
            f"The folder {folder} cannot be read: {(error.strerror or str(error)).lower()}.",
            "Name a folder that is there; a name without / is looked for in ComfyUI's input.",
        ) from error
    jobs, problems, taken = [], [], Counter[Path]()
    for index, picture in enumerate(pictures, 1):
        base = folder if output is None else output
        text = base / picture.relative_to(folder).with_suffix(".txt")
        taken[text] += 1
        if taken[text] > 1:
            problems.append(f"{picture.relative_to(folder)}: {text.name} is another picture's")
        else:
            jobs.append(Job(picture, text, index))
    return jobs, problems


def _pictures(folder: Path, recursive: bool) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            # A link to a folder above would never end.
            if recursive and not entry.is_symlink():
                yield from _pictures(Path(entry.path), recursive)
        elif entry.name.lower().endswith(SUFFIXES):
            yield Path(entry.path)


def written(job: Job) -> str | None:
    """What the text file says; None when there is none. Raises BadRequest for one that cannot be
    read: it is not to be written over, nor to be passed over."""
    try:
        return job.text.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.BadRequest(
            f"{job.text} cannot be read: {error.strerror or error}.",
            "Make it readable, move it away, or set existing to overwrite.",
        ) from error


def make_folders(jobs: Iterable[Job]) -> None:
    """Makes the folders of the text files, and tries whether a file can be written into each.

    Raises BadRequest, with what to do.
    """
    for folder in dict.fromkeys(job.text.parent for job in jobs):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            trial = _beside(folder)
            try:
                trial.write_bytes(bytes(_TRIAL_BYTES))
            finally:
                trial.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error


def write(job: Job, text: str) -> None:
    """The whole text or nothing: whoever looks meanwhile finds no half of it.

    Raises OSError for what is wrong with this file only, else BadRequest: a full disk, a folder
    that is read-only or not ours.
    """
    beside = _beside(job.text.parent)
    try:
        job.text.parent.mkdir(parents=True, exist_ok=True)  # it may have gone since
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, job.text)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error counts
            beside.unlink()
        if isinstance(error, OSError) and error.errno not in _ABOUT_ONE:
            raise _unwritable(job.text.parent, error) from error
        raise


def _beside(folder: Path) -> Path:
    # Not a temporary file of Python's: those are private, text files shall be as others are.
    return folder / f".hearth-{os.urandom(8).hex()}.tmp"


def _unwritable(folder: Path, error: OSError) -> errors.HearthError:
    return errors.BadRequest(
        f"No text can be written into {folder}: {(error.strerror or str(error)).lower()}.",
        "Make room there or make it writable, or name another output_folder.",
    )


def state_of(folder: Path, output: Path | None, recursive: bool, skips: bool) -> str | None:
    """Changes when a picture comes, goes or changes. `skips`, where pictures with a text are passed
    over: or a text changes; None while a picture has no text, so that there is work to do."""
    try:
        jobs, _ = jobs_in(folder, output, recursive)
    except errors.BadRequest as error:
        return str(error)
    import hashlib  # not while ComfyUI starts

    seen = hashlib.sha256()
    for job in jobs:
        text = _version(job.text) if skips else "-"
        if not text:
            return None
        seen.update(os.fsencode(f"{job.picture}\0{_version(job.picture)}\0{text}\n"))
    return seen.hexdigest()


def _version(path: Path) -> str:
    """Of what a file says: another one when it was written since; empty when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns}"
