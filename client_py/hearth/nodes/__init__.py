"""The ComfyUI nodes, one file each: a module here whose name has no leading underscore and which
defines `NODE`. Adding a file adds the node; docs/add-a-node.md shows one."""

from __future__ import annotations

import functools
import importlib
import logging
import pkgutil
from typing import TYPE_CHECKING

from .. import comfy_api

if TYPE_CHECKING:
    from ._schema import Node


def all_nodes() -> list[Node]:
    """Every node that could be loaded, in the order of file names.

    A file that fails to load is reported with its traceback and left out; the others still work.
    """
    found = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if module.name.startswith("_"):
            continue
        try:
            found.append(importlib.import_module(f".{module.name}", __name__).NODE)
        except Exception:
            logging.exception("hearth: the node in nodes/%s.py cannot be used", module.name)
    return found


@functools.lru_cache(maxsize=1)
def entry_points() -> dict[str, object]:
    """What a node pack exports: `comfy_entrypoint` where ComfyUI knows it, else the older names.

    Made once: ComfyUI asks for one name after the other.
    """
    from . import _page
    from ._replace import replace_when_queued

    replace_when_queued()
    _page.serve()
    api = comfy_api.v3()
    if api is not None:
        from . import _v3

        return _v3.entry_points(all_nodes(), api)
    from . import _v1

    return _v1.entry_points(all_nodes())
