"""Models that are not there yet: fetched from the hub when the user has switched that on.

Without that consent nothing is asked of the network: the error says what a download would mean and
where to allow it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from .. import comfy_api, errors, hub_models
from ..units import amount, duration
from ._answer import show
from ._model_folders import FOLDERS, Source, is_bare
from ._schema import Input

if TYPE_CHECKING:
    from ..hub import Progress

_SHOW_EVERY_S = 0.25
_POLL_S = 0.02
_LEAVE_S = 0.5  # what a cancelled transfer gets to close its file
_MIB = 1 << 20

DOWNLOAD_IF_MISSING = Input(
    "download_if_missing",
    "BOOLEAN",
    "Off: a model that is not there is an error that says how large it is. On: it is fetched from"
    " the Hugging Face hub into models/LLM, with its licence accepted by you.",
    {"default": False, "advanced": True},
    optional=True,
)


async def find_or_fetch(name: str, download_if_missing: bool, revision: str = "main") -> Source:
    """What to offer to the service for a picked name, after a download where one was allowed.

    Raises UnknownModel where the model is missing and may not be fetched, ComfyUI's own exception
    when the user presses cancel, and what `hearth.hub` raises.
    """
    with on_node():
        repository = missing_repository(name)
        # A bare name may be that of a model which the service publishes.
        if repository is None or (is_bare(name) and not download_if_missing):
            return FOLDERS.find(name)
        if not download_if_missing:
            raise not_allowed(repository)
        await fetch(repository, revision)
        FOLDERS.look_again()
        return FOLDERS.find(repository)


@contextlib.contextmanager
def on_node() -> Iterator[None]:
    """The text of an error from inside stands on the node."""
    try:
        yield
    except errors.HearthError as error:
        show(str(error))
        raise


def missing_repository(name: str) -> str | None:
    """The repository to fetch for a name that is in no folder; None where there is none, or no
    need."""
    if FOLDERS.path_of(name) is not None:
        return None
    known = hub_models.repository_for(name)
    return known or (name if FOLDERS.is_repository(name) else None)


def not_allowed(repository: str) -> errors.HearthError:
    """The error for a model that is missing and may not be fetched."""
    from .. import hub  # not while ComfyUI starts

    known = hub_models.KNOWN.get(repository)
    page = hub.page_of(repository)
    what = f"about {amount(known.nbytes)}, {known.licence}" if known else "size and licence"
    return errors.UnknownModel(
        f"The model {repository} is not here. It can be fetched ({what}: {page}).",
        "Switch on download_if_missing to fetch it and accept its licence, or put its folder into"
        " models/LLM.",
    )


async def fetch(repository: str, revision: str = "main") -> Path:
    """Fetches into models/LLM, with progress in the running node. The folder it is in."""
    from .. import hub  # not while ComfyUI starts

    folder = _folder()
    stop = threading.Event()
    screen = _Screen(repository)

    def work() -> Path:
        screen.text = f"Asking the hub for {repository} …"
        listing = hub.look_up(repository, revision)
        return hub.fetch(listing, folder, screen.take, stop)

    return await _in_thread(work, screen, stop)


def _folder() -> Path:
    """Where ComfyUI keeps language models: its own folder LLM, or one beside its other models."""
    declared = comfy_api.model_folders("LLM")
    if declared:
        return declared[0]
    beside = comfy_api.model_folders("text_encoders") or comfy_api.model_folders("diffusion_models")
    if not beside:
        raise errors.Unsupported(
            "This ComfyUI names no folder for models.", "Put the model's folder there yourself."
        )
    return beside[0].parent / "LLM"


async def _in_thread(work: Callable[[], Path], screen: _Screen, stop: threading.Event) -> Path:
    """In a daemon's thread: neither cancel nor the end of ComfyUI waits for the network."""
    import asyncio  # not while ComfyUI starts

    ended: list[Path | BaseException] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="hearth-fetch", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            screen.poll()
            await asyncio.sleep(_POLL_S)
    finally:
        stop.set()
        deadline = time.monotonic() + _LEAVE_S
        while thread.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)  # a cancelled coroutine may not wait otherwise
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


class _Screen:
    """Text and bar in the node. `take` is called by the thread that reads, `poll` by ComfyUI's."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._node = comfy_api.node_id()
        self._send = comfy_api.text_sender(self._node)
        self._bar: Callable[[int], None] | None = None
        self._began: tuple[float, int] | None = None
        self._done = self._total = 0
        self._send_at = 0.0
        self._shown = self.text = ""

    def take(self, progress: Progress) -> None:
        """How far the transfer is."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, progress.done)
        self._total, self._done = progress.total, progress.done
        since, at = self._began
        rate = (progress.done - at) / max(now - since, 1e-3)
        left = (progress.total - progress.done) / rate if rate else 0.0
        self.text = (
            f"Fetching {self._repository}: {amount(progress.done)} of {amount(progress.total)},"
            f" {amount(rate)}/s, {duration(1000 * left)} left"
        )

    def poll(self) -> None:
        """Shows what is new, and raises ComfyUI's exception when the user presses cancel."""
        comfy_api.raise_if_interrupted()
        now = time.monotonic()
        if now < self._send_at or self.text == self._shown:
            return
        self._send_at, self._shown = now + _SHOW_EVERY_S, self.text
        self._send(self.text)
        if self._total:
            if self._bar is None:
                self._bar = comfy_api.progress_bar(max(self._total // _MIB, 1), self._node)
            self._bar(self._done // _MIB)
