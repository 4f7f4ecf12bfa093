"""Other packs' Qwen nodes in a workflow run on ours, while those packs are not installed.

Where ComfyUI replaces nodes itself, it is told how: the browser offers it when such a workflow is
opened. What is queued is rewritten here, in every version: ComfyUI's own rewriting copies values
as they stand and fails for inputs that are not connected.
"""

from __future__ import annotations

import logging
from typing import Any

from .. import comfy_api


def replace_when_queued() -> None:
    """From here on; nothing where ComfyUI has no such hook."""
    comfy_api.on_prompt(rewrite)


def rewrite(queued: dict[str, Any]) -> dict[str, Any]:
    """What is queued, with our nodes in the place of those that are missing."""
    prompt = queued.get("prompt")
    if not isinstance(prompt, dict):
        return queued
    from ..migrate import convert_prompt  # not while ComfyUI starts

    made, notes = convert_prompt(prompt, comfy_api.installed_nodes())
    for note in notes:
        logging.warning("hearth: %s", note)
    return {**queued, "prompt": made}


async def offer_in_browser() -> None:
    """Tells ComfyUI which nodes take which others' place, where it asks."""
    from ..migrate import PEERS

    for name, peer in PEERS.items():
        mapping: list[dict[str, Any]] = [
            {"new_id": rule.goes_to, "old_id": old}
            for old, rule in peer.rules.items()
            if rule.goes_to and not rule.why and old in (*peer.widgets[0], *peer.sockets)
        ]
        mapping += [{"new_id": new, "set_value": value} for new, value in peer.fixed.items()]
        widgets = list(peer.widgets[0])
        widgets.insert(widgets.index("seed") + 1, "control_after_generate")
        await comfy_api.register_replacement(
            old_node_id=name,
            new_node_id=peer.target,
            old_widget_ids=widgets,
            input_mapping=mapping,
            output_mapping=[{"old_idx": 0, "new_idx": 0}],
        )
