"""Workflows as a browser saves them: nodes with places and widgets, links, subgraphs."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from .ours import Shape, shape_of
from .peers import PEERS, Link, Peer

_CONTROLS = ("fixed", "increment", "decrement", "randomize")


def convert_graph(
    graph: dict[str, Any], installed: Container[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """As convert_prompt(), for a saved workflow. Links into inputs that ours lacks are removed."""
    made, notes = copy.deepcopy(graph), list[str]()
    inner = (made.get("definitions") or {}).get("subgraphs") or []
    for part in (made, *inner):
        _convert(part, installed, notes)
    groups = (made.get("extra") or {}).get("groupNodes") or {}
    for name, group in groups.items():
        if any(node.get("type") in PEERS for node in group.get("nodes", ())):
            notes.append(f"The group node {name}: ungroup it, save, and convert it again.")
    return made, notes


def _convert(part: dict[str, Any], installed: Container[str], notes: list[str]) -> None:
    for node in part.get("nodes", ()):
        if node.get("type") in PEERS and node["type"] not in installed:
            _replace(part, node, notes)


def _replace(part: dict[str, Any], node: dict[str, Any], notes: list[str]) -> None:
    peer, name = PEERS[node["type"]], f"{node['type']} ({node.get('id')})"

    def note(text: str) -> None:
        notes.append(f"{name}: {text}")

    widgets, control = _widgets(peer, node, note)
    linked = {
        one["name"]: Link([one["link"]])
        for one in node.get("inputs") or ()
        if one.get("link") is not None
    }
    target, made = peer.convert({**widgets, **linked}, note)
    shape = shape_of(target)
    complete = shape.complete(made, note)
    if widgets.get("seed") == -1:
        control = "randomize"
    _write(node, target, shape, (complete, control))
    _move_links(part, node, {link[0] for link in linked.values()})


def _widgets(peer: Peer, node: dict[str, Any], note: Any) -> tuple[dict[str, Any], str]:
    """Values by name, and what the browser does to the seed after a run."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        control = values.get("control_after_generate", "fixed")
        known = {name for order in peer.widgets for name in order}
        return {name: value for name, value in values.items() if name in known}, str(control)
    named = [one["name"] for one in node.get("inputs") or () if one.get("widget")]
    orders = [tuple(named), *peer.widgets] if "seed" in named else list(peer.widgets)
    for order in orders:
        read = _read(order, list(values))
        if read is not None:
            return read
    note(f"its {len(values)} values are of another version of {peer.pack}: check them all.")
    return _read(peer.widgets[0], list(values), is_exact=False) or ({}, "fixed")


def _read(
    order: tuple[str, ...], values: list[Any], is_exact: bool = True
) -> tuple[dict[str, Any], str] | None:
    """Values in the order of widgets; behind the seed stands what happens to it. None where they
    do not fit."""
    given: dict[str, Any] = {}
    control = "fixed"
    for name in order:
        if not values:
            return None if is_exact else (given, control)
        given[name] = values.pop(0)
        if name == "seed" and values and values[0] in _CONTROLS:
            control = values.pop(0)
    return None if values and is_exact else (given, control)


def _write(
    node: dict[str, Any], target: str, shape: Shape, complete: tuple[dict[str, Any], str]
) -> None:
    values, control = complete
    linked = [one for one in shape.widgets if isinstance(values[one.name], Link)]
    shown = []
    for one in shape.widgets:
        value = values[one.name]
        shown.append(one.options.get("default") if isinstance(value, Link) else value)
        if one.options.get("control_after_generate"):
            shown.append(control)
    links = [out.get("links") for out in node.get("outputs") or ()]
    node["type"] = target
    node["inputs"] = [
        {
            "name": one.name,
            "type": one.kind,
            "link": values[one.name][0] if isinstance(values.get(one.name), Link) else None,
            **({"widget": {"name": one.name}} if one in linked else {}),
        }
        for one in (*shape.sockets, *linked)
    ]
    node["outputs"] = [
        {"name": out.name, "type": out.kind, "links": links[at] if at < len(links) else None}
        for at, out in enumerate(shape.outputs)
    ]
    node["widgets_values"] = shown
    node.setdefault("properties", {})["Node name for S&R"] = target


def _move_links(part: dict[str, Any], node: dict[str, Any], before: set[Any]) -> None:
    """Links into the node end at the inputs' new places; those that nothing takes are removed."""
    slots = {one["link"]: at for at, one in enumerate(node["inputs"]) if one["link"] is not None}
    gone = before - set(slots)
    links = part.get("links") or []
    for link in links:
        at, id_ = ("target_slot", link["id"]) if isinstance(link, dict) else (4, link[0])
        if id_ in slots:
            link[at] = slots[id_]
    part["links"] = [
        link for link in links if (link["id"] if isinstance(link, dict) else link[0]) not in gone
    ]
    for other in part.get("nodes", ()):
        for out in other.get("outputs") or ():
            if out.get("links"):
                out["links"] = [id_ for id_ in out["links"] if id_ not in gone]
