"""How a node reaches the service."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import TYPE_CHECKING

from .. import comfy_api, errors
from . import _memory as memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..aio import AsyncClient

TRIM_AFTER_S = 61.0  # the client keeps what was used within a minute
_trim_is_planned = False


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[AsyncClient]:
    """`async with connected() as service`: the connection that all nodes of a workflow share, kept
    for the next workflow. Imported here, so that ComfyUI starts without it.

    Raises NotReachable within 300 ms when the service is down.
    """
    try:
        from .. import aio
    except ModuleNotFoundError as error:
        raise errors.Unsupported(
            f"hearth needs the Python package {error.name}, which this ComfyUI lacks.",
            f"Install it and restart ComfyUI: {sys.executable} -m pip install {error.name}",
        ) from error
    try:
        async with aio.shared() as service:
            try:
                yield service
            finally:
                memory.share(service.welcome)
    finally:
        _plan_trim(TRIM_AFTER_S)


def _plan_trim(after_s: float) -> None:
    """Gives idle shared memory back. A node's own event loop ends with the workflow, so ComfyUI's
    server does it; where there is none, the next workflow does."""
    global _trim_is_planned
    if not _trim_is_planned:
        _trim_is_planned = comfy_api.call_later(after_s, _trim)


def _trim() -> None:
    global _trim_is_planned
    from .. import aio

    _trim_is_planned = False
    left_s = aio.trim_idle()
    if left_s < math.inf:
        _plan_trim(left_s + 1.0)
