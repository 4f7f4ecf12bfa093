"""Single keys from the terminal, which is put back as it was."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType


class Keys:
    """`with Keys() as keys: key = keys.wait(1.0)`"""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()

    def wait(self, seconds: float) -> str | None:
        """The key that was pressed within the time, or None. Ctrl-C raises KeyboardInterrupt."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return None
        pressed = os.read(self._fd, 64).decode(errors="replace")
        return pressed[:1] if len(pressed) == 1 or not pressed.startswith("\x1b") else None

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
