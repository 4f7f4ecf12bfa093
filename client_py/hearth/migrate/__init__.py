"""Workflows made for other packs' Qwen nodes, rewritten for ours. Pure: reads no disk, asks nobody.

`peers` says what those nodes' inputs mean here, `prompts` rewrites what a browser queues (API
format), `graphs` what it saves. The command `hearth migrate` and the nodes use them.
"""

from __future__ import annotations

from .graphs import convert_graph
from .peers import PEERS
from .prompts import convert_prompt

__all__ = ["PEERS", "convert_graph", "convert_prompt"]
