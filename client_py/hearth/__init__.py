"""hearth: the client library, the ComfyUI node pack and the `hearth` command in one package.

Scripts use `hearth.client` or `hearth.aio`. ComfyUI asks this module for its nodes by looking for
`NODE_CLASS_MAPPINGS` or `comfy_entrypoint`; exactly one of the two answers, and nothing is built
before that question, so that a script pays nothing for the nodes.
"""

from __future__ import annotations

WEB_DIRECTORY = "web"

# No annotation: typing is not worth its import here.
_ENTRY_POINTS = ("comfy_entrypoint", "NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS")


def __getattr__(name: str) -> object:
    if name in _ENTRY_POINTS:
        from .nodes import entry_points

        found = entry_points()
        if name in found:
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
