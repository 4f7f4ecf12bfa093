"""The GPU is ComfyUI's as well: when its sampler needs room, idle models of the service make some.

Only a ComfyUI that has used the service asks, and only when freeing memory of its own was not
enough. HEARTH_FREE_MEMORY=never switches that off, =always asks whatever the two compute on: on the
CPU they share the RAM.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from typing import TYPE_CHECKING

from .. import comfy_api

if TYPE_CHECKING:
    from ..messages import Welcome

WAIT_S = 5.0  # for the models to leave; the sampler begins without them then
_POLICIES = ("auto", "never", "always")
_shared: tuple[str, ...] = ()  # kinds of devices of ComfyUI whose memory is the service's as well


def share(welcome: Welcome | None) -> None:
    """A node has talked to this service."""
    global _shared
    if welcome is None:
        return
    policy = _policy(os.environ.get("HEARTH_FREE_MEMORY", ""))
    is_gpu = any(device.kind == "cuda" for device in welcome.devices)
    if policy == "always":
        _shared = ("cuda", "cpu")
    else:
        _shared = ("cuda",) if is_gpu and policy == "auto" else ()
    if _shared:
        comfy_api.on_memory_wanted(give)


@functools.lru_cache(maxsize=8)  # so that each mistake is logged once
def _policy(given: str) -> str:
    policy = given.strip().lower() or "auto"
    if policy not in _POLICIES:
        logging.warning(
            "hearth: HEARTH_FREE_MEMORY is %r, which is none of %s: auto is used",
            given,
            ", ".join(_POLICIES),
        )
        return "auto"
    return policy


def give(nbytes: int, kind: str) -> None:
    """Has idle models leave until so many bytes are given back, 0: all, because ComfyUI wants them
    on a device of this kind. A service that is down, or busy for too long, keeps nobody from
    sampling."""
    if kind not in _shared:
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
