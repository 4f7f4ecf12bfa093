"""Transfers under way, each shared by all nodes of this process that want the same model."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from .. import comfy_api
from ..units import amount, duration

if TYPE_CHECKING:
    from ..hub import Progress

_SHOW_EVERY_S = 0.25
_POLL_S = 0.02
_LEAVE_S = 0.5  # what a cancelled transfer gets to close its file
_MIB = 1 << 20

Key = tuple[str, str, Path]  # repository, revision, the folder that its own comes into

_guard = threading.Lock()
_running: dict[Key, Download] = {}


async def fetch(repository: str, revision: str, folder: Path) -> Path:
    """Fetches into a folder of models, or takes part in a fetch of the same that is under way, with
    progress in the running node. The model's own folder.

    The transfer ends when no node waits for it any more. Raises what `hearth.hub` raises, and
    ComfyUI's own exception when the user presses cancel.
    """
    import asyncio  # not while ComfyUI starts

    download = _joined((repository, revision, folder))
    screen = _Screen(download)
    try:
        while download.is_running:
            screen.poll()
            await asyncio.sleep(_POLL_S)
    finally:
        _leave(download)
    return download.result()


def _joined(key: Key) -> Download:
    with _guard:
        download = _running.get(key)
        if download is None or not download.is_running:
            download = _running[key] = Download(key)
        download.nodes += 1
        return download


def _leave(download: Download) -> None:
    with _guard:
        download.nodes -= 1
        if download.nodes:
            return
        if _running.get(download.key) is download:
            del _running[download.key]
    download.end()


class Download:
    """One transfer, in a daemon's thread: neither cancel nor the end of ComfyUI waits for the
    network. `nodes`, how many wait for it, belongs to `_guard`; what is to be shown is written by
    the thread and read by nodes."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.nodes = 0
        self.text = f"Asking the hub for {key[0]} …"
        self.done = self.total = 0  # bytes
        self._began: tuple[float, int] | None = None
        self._stop = threading.Event()
        self._ended: Path | BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hearth-fetch", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether its result is still to come."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Nobody wants it any more."""
        self._stop.set()
        deadline = time.monotonic() + _LEAVE_S
        while self.is_running and time.monotonic() < deadline:
            time.sleep(_POLL_S)  # a cancelled coroutine may not wait otherwise

    def result(self) -> Path:
        """The model's folder, or the error that the transfer ended with."""
        if isinstance(self._ended, Path):
            return self._ended
        assert self._ended is not None, "it is running"
        raise self._ended

    def _run(self) -> None:
        from .. import hub  # not while ComfyUI starts

        repository, revision, folder = self.key
        try:
            listing = hub.look_up(repository, revision)
            self._ended = hub.fetch(listing, folder, self._take, self._stop)
        except BaseException as error:
            self._ended = error

    def _take(self, progress: Progress) -> None:
        if progress.is_waiting:
            self.text = f"Waiting for another download of {self.key[0]} …"
            return
        now = time.monotonic()
        if self._began is None:
            self._began = (now, progress.done)
        self.total, self.done = progress.total, progress.done
        since, at = self._began
        rate = (progress.done - at) / max(now - since, 1e-3)
        left = (progress.total - progress.done) / rate if rate else 0.0
        self.text = (
            f"Fetching {self.key[0]}: {amount(progress.done)} of {amount(progress.total)},"
            f" {amount(rate)}/s, {duration(1000 * left)} left"
        )


class _Screen:
    """Text and bar of one node. `poll` is called in the thread that runs it."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._node = comfy_api.node_id()
        self._send = comfy_api.text_sender(self._node)
        self._bar: Callable[[int], None] | None = None
        self._send_at = 0.0
        self._shown = ""

    def poll(self) -> None:
        """Shows what is new, and raises ComfyUI's exception when the user presses cancel."""
        comfy_api.raise_if_interrupted()
        now, text = time.monotonic(), self._download.text
        if now < self._send_at or text == self._shown:
            return
        self._send_at, self._shown = now + _SHOW_EVERY_S, text
        self._send(text)
        if self._download.total:
            if self._bar is None:
                total = max(self._download.total // _MIB, 1)
                self._bar = comfy_api.progress_bar(total, self._node)
            self._bar(self._download.done // _MIB)
