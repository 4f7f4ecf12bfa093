"""Models from the Hugging Face hub, fetched by the client side. The service never does this.

    listing = hub.look_up("Qwen/Qwen3-VL-2B-Instruct")
    folder = hub.fetch(listing, "/ComfyUI/models/LLM", on_progress=print)

`huggingface_hub` tells what a repository holds and who is asking (HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE and its stored login count); it is imported when it is needed. The bytes are read
here, because a transfer must go on where it stopped, end when the user says so, and be compared
with the hub's digests. Everything blocks: call from a thread of its own. Nothing here asks for
consent; the caller has it.

A model is put together in `<into>/.hearth-incomplete/<owner>--<name>@<commit>` and renamed when all
of it is there and right, so that nobody ever meets half of one. What an interrupted fetch leaves
there is gone on with by the next one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Callable
from urllib.parse import quote

from . import errors, hub_digests, hub_transfer
from .hub_models import ORIGIN
from .hub_models import is_repository as is_repository
from .hub_transfer import HubFile
from .units import amount

INCOMPLETE = ".hearth-incomplete"
_WANTED = (".safetensors", ".json", ".txt", ".jinja")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SPARE_BYTES = 256 << 20  # left free on the disk
_ASK_TIMEOUT_S = 20.0
_LOCK_POLL_S = 0.1


@dataclass(frozen=True)
class Listing:
    """What a repository holds of a model, at one commit.

    repository: owner/name    revision: the commit's id    page: where its licence stands
    url: address of a file, without its name    headers: who asks
    """

    repository: str
    revision: str
    page: str
    licence: str
    files: tuple[HubFile, ...]
    url: str
    headers: dict[str, str] = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.nbytes for file in self.files)


@dataclass
class Progress:
    """How far a fetch is: bytes that are there and right or on their way, and their file.
    is_waiting: nothing is asked yet, because another fetch of the same is under way."""

    done: int
    total: int
    file: str = ""
    is_waiting: bool = False


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT's, else the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def look_up(repository: str, revision: str = "main") -> Listing:
    """Asks the hub what belongs to a model.

    Raises BadRequest, Unsupported (huggingface_hub is missing or offline), NotReachable,
    UnknownModel (no such repository or revision, or not for you), BadModel (no safetensors in it).
    """
    if not is_repository(repository):
        raise errors.BadRequest(
            f"{repository!r} is not the name of a repository.", "Write it as owner/name."
        )
    hub = _hub()
    try:
        told = hub.HfApi(endpoint=endpoint()).model_info(
            repository, revision=revision, files_metadata=True, timeout=_ASK_TIMEOUT_S
        )
        headers = hub.utils.build_hf_headers(library_name="hearth")
    except Exception as error:  # of many packages: requests, httpx, huggingface_hub
        raise _refusal(error, repository, revision) from error
    if not _COMMIT.fullmatch(str(told.sha)):
        raise errors.BadModel(f"The hub names no commit of {repository}, but {told.sha!r}.")
    files = tuple(_file(entry) for entry in told.siblings or () if _is_wanted(entry.rfilename))
    if not any(file.name.endswith(".safetensors") for file in files):
        raise errors.BadModel(
            f"{repository} holds no .safetensors file.",
            "hearth reads safetensors only: take the repository of the model's unconverted files.",
        )
    card = getattr(told, "card_data", None)
    return Listing(
        repository,
        str(told.sha),
        page_of(repository),
        str((card.get("license") if card else None) or "not said"),
        files,
        f"{endpoint()}/{repository}/resolve/{told.sha}",
        {name: value for name, value in headers.items() if value},
    )


def page_of(repository: str) -> str:
    """Where the model and its licence are described."""
    return f"{endpoint()}/{repository}"


def fetch(
    listing: Listing,
    into: str | os.PathLike[str],
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: threading.Event | None = None,
) -> Path:
    """Brings all files into the folder `<into>/<name>` and returns it; at once where it is there.

    Waits, however long, while another one fetches the same into it. Raises Cancelled when the event
    is set, within the time of one read; what has come stays. Raises BadRequest (no room on the
    disk, or no right to write), BadModel (the bytes are not those that the hub lists),
    NotReachable, UnknownModel.
    """
    stop, tell = cancelled or threading.Event(), on_progress or _ignore
    target = Path(into) / listing.repository.rpartition("/")[2]
    if target.exists():
        return _known(target, listing.repository)
    owner_name = listing.repository.replace("/", "--")
    work = Path(into) / INCOMPLETE / f"{owner_name}@{listing.revision[:12]}"
    _make_folder(work.parent, into)
    waiting = Progress(0, listing.nbytes, is_waiting=True)
    with _only_one(work.parent / f"{owner_name}.lock", stop, lambda: tell(waiting)):
        if target.exists():
            return _known(target, listing.repository)
        _make_folder(work, into)
        progress = Progress(sum(_present(work, file) for file in listing.files), listing.nbytes)
        _check_room(work, progress.total - progress.done, listing.repository)
        for file in sorted(listing.files, key=lambda file: file.nbytes):
            if not (work / file.name).exists():
                _bring(listing, file, work, progress, (tell, stop))
        origin = f"{listing.repository}@{listing.revision}"
        (work / ORIGIN).write_text(origin, encoding="utf-8")
        hub_digests.write(work, listing.files)
        os.rename(work, target)
        for stale in work.parent.glob(f"{owner_name}@*"):
            shutil.rmtree(stale, ignore_errors=True)
    return target


def _make_folder(work: Path, into: str | os.PathLike[str]) -> None:
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.BadRequest(
            f"Nothing can be put into {os.fspath(into)}: {error.strerror or error}.",
            "Make that folder writable, or let ComfyUI's extra_model_paths.yaml name another one.",
        ) from error


def _known(target: Path, repository: str) -> Path:
    """The folder that is there already, unless it says that it came from another repository."""
    origin = target / ORIGIN
    if origin.exists():
        owner = origin.read_text(encoding="utf-8").partition("@")[0]
        if owner != repository:
            raise errors.BadRequest(
                f"{target} holds {owner}, not {repository}.",
                "Rename that folder and run this again.",
            )
    return target


def _ignore(_progress: Progress) -> None:
    pass


def _bring(
    listing: Listing,
    file: HubFile,
    work: Path,
    progress: Progress,
    watch: tuple[Callable[[Progress], None], threading.Event],
) -> None:
    on_progress, stop = watch
    before = progress.done - _present(work, file)
    progress.file = file.name

    def moved(nbytes: int) -> None:
        progress.done = before + nbytes
        on_progress(progress)

    url = f"{listing.url}/{quote(file.name)}"
    part = work / (file.name + ".part")
    hub_transfer.bring(url, listing.headers, file, part, (moved, stop))
    os.rename(part, work / file.name)


def _present(work: Path, file: HubFile) -> int:
    for name in (file.name, file.name + ".part"):
        try:
            return min((work / name).stat().st_size, file.nbytes)
        except OSError:
            continue
    return 0


def _check_room(work: Path, missing: int, repository: str) -> None:
    free = shutil.disk_usage(work).free
    if free < missing + _SPARE_BYTES:
        raise errors.BadRequest(
            f"{repository} needs {amount(missing)} more on the disk of {work.parent.parent},"
            f" which has {amount(free)} free.",
            "Make room, or let ComfyUI's extra_model_paths.yaml name a folder on another disk.",
        )


@contextmanager
def _only_one(lock: Path, stop: threading.Event, on_wait: Callable[[], None]) -> Iterator[None]:
    """One fetch at a time, of this process and all others; the lock ends with the process that
    holds it. Waits without a limit, for large models take hours; `on_wait` is called once then."""
    with open(lock, "ab") as held:
        if not _try_lock(held):
            on_wait()
            while not _try_lock(held):
                if stop.wait(_LOCK_POLL_S):
                    raise errors.Cancelled("The download was cancelled.")
        yield


def _try_lock(file: BinaryIO) -> bool:
    """Locks the file for this one; False where another one has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # of network file systems that have no locks
        raise errors.BadRequest(
            f"{file.name} cannot be locked: {error.strerror or error}.",
            "Fetch into a folder on another disk.",
        ) from error
    return True


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise errors.Unsupported(
            "Models are looked up with the Python package huggingface_hub, which is missing here.",
            f"Install it ({sys.executable} -m pip install huggingface_hub), or put the model's"
            " folder into models/LLM yourself.",
        ) from error
    return huggingface_hub


def _is_wanted(name: str) -> bool:
    """Weights, configuration, tokenizer, chat template: files of the repository's top folder."""
    return name.endswith(_WANTED) and "/" not in name and not name.startswith(".")


def _file(entry: Any) -> HubFile:
    lfs = entry.lfs
    digest = (lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256) if lfs else ""
    return HubFile(entry.rfilename, int(entry.size or 0), str(digest), str(entry.blob_id or ""))


def _refusal(error: Exception, repository: str, revision: str) -> errors.HearthError:
    """The hub's answer in our words: by its status where there is one, else it was not reached."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return hub_transfer.refused(int(status), repository, page_of(repository), revision)
    if "offline" in f"{type(error).__name__} {error}".lower():
        return errors.Unsupported(
            "Nothing can be looked up: HF_HUB_OFFLINE is set.",
            "Unset it and restart, or put the model's folder into models/LLM yourself.",
        )
    return errors.NotReachable(
        f"The hub at {endpoint()} does not answer: {error}",
        "Check the network (HTTPS_PROXY, HF_ENDPOINT), or put the model's folder into models/LLM"
        " yourself.",
    )
