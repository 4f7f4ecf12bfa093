"""The GPU is ComfyUI's as well: when its sampler needs room, idle models of the service make some.

Only a ComfyUI that has used the service asks, and only when freeing memory of its own was not
enough. HEARTH_FREE_MEMORY=never switches that off, =always also asks a service that computes on the
CPU, whose memory is none of the sampler's.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from .. import comfy_api

if TYPE_CHECKING:
    from ..messages import Welcome

WAIT_S = 5.0  # for the models to leave; the sampler begins without them then
_is_shared = False  # the service's device is one that ComfyUI may want


def share(welcome: Welcome | None) -> None:
    """A node has talked to this service."""
    global _is_shared
    if welcome is None:
        return
    policy = os.environ.get("HEARTH_FREE_MEMORY", "auto")
    is_gpu = any(device.kind == "cuda" for device in welcome.devices)
    _is_shared = policy == "always" or (policy != "never" and is_gpu)
    if _is_shared:
        comfy_api.on_memory_wanted(give)


def give(nbytes: int) -> None:
    """Has idle models leave until so many bytes are given back, 0: all. A service that is down, or
    busy for too long, keeps nobody from sampling."""
    if not _is_shared:
        return
    from .. import client, errors

    deadline = time.monotonic() + WAIT_S
    try:
        with client.shared() as service:
            freed = service.free_memory(nbytes, interrupted=lambda: time.monotonic() > deadline)
    except errors.HearthError as error:
        logging.warning("hearth: idle models did not make room for ComfyUI: %s", error)
        return
    if freed.models:
        logging.info("hearth: %s left the GPU for ComfyUI", ", ".join(freed.models))
