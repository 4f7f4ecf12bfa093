"""What is said while a service that was lost is waited for."""

from __future__ import annotations

from .. import client
from ..retry import RECONNECT_S
from .output import problems


class Waiting:
    """`interrupted` of a client's calls, which interrupts nothing: says each time that the service
    is gone and that the call waits for it."""

    def __init__(self, service: client.Client, is_quiet: bool) -> None:
        self._service, self._is_quiet = service, is_quiet
        self._was_gone = False

    def __call__(self) -> bool:
        is_gone = self._service.welcome is None
        if is_gone and not self._was_gone and not self._is_quiet:
            said = f"The service is gone. Waiting for it, {RECONNECT_S:.0f} s at most …"
            problems().print(said, style="yellow")
        self._was_gone = is_gone
        return False
