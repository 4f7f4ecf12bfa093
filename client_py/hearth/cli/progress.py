"""Bars for what takes long. On a terminal only: elsewhere they say nothing."""

from __future__ import annotations

from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .. import messages
from .output import problems


class ByteBar:
    """`with ByteBar() as bar: bar.show("what", done, total)`: bytes, their rate, the time left."""

    def __init__(self) -> None:
        console = problems()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.is_dumb_terminal,
        )
        self._task: TaskID | None = None

    def show(self, what: str, done: int, total: int) -> None:
        """How far it is; total 0: unknown."""
        if self._task is None:
            self._task = self._progress.add_task(what, total=None)
        self._progress.update(self._task, description=what, completed=done, total=total or None)

    def __enter__(self) -> ByteBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class LoadProgress(ByteBar):
    """A client's `on_progress`: the bytes of a model's weights as they come."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self, progress: messages.Progress) -> None:
        is_load = progress.stage == "loading"
        if is_load or progress.stage == "queued":
            what = self._name if is_load else f"{self._name} waits"
            self.show(what, progress.done if is_load else 0, progress.total if is_load else 0)

    def __enter__(self) -> LoadProgress:
        super().__enter__()
        return self
