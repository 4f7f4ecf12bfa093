"""How a node reaches the service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from ..aio import AsyncClient


def connected() -> AbstractAsyncContextManager[AsyncClient]:
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
    return aio.shared()
