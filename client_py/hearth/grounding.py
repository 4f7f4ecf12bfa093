"""Boxes and points that a model has written, in pixels of the pictures that it was given.

Qwen's models write them as JSON ([{"bbox_2d": [x, y, x, y], "label": …}], also "point_2d", also in
a code fence) or as (x,y),(x,y), with or without their own marks around. What the numbers count
depends on the family: a reply's `coordinates` says it, and its `pictures` say how large each
picture was sent and seen. Plain functions; any thread.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import messages

THOUSAND = 1000.0
_BOX_KEYS = ("bbox_2d", "box_2d", "bbox", "box")
_POINT_KEYS = ("point_2d", "point")
_LABEL_KEYS = ("label", "text_content", "text", "name", "class")
_OPENING = re.compile(r"\{|\[(?=\s*[{\]])")
_TWO_NUMBERS = r"\(\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*\)"
_PAIRS = re.compile(rf"{_TWO_NUMBERS}(?:\s*,\s*{_TWO_NUMBERS})?")
_MARKS = re.compile(r"<\|(?:object_ref|box|quad)_(?:start|end)\|>")
_EXCERPT = 40  # characters of an unreadable item that a problem shows


class Spot(NamedTuple):
    """Something that the model has pointed at, in pixels of the picture as it was sent.

    box: left, top, right, bottom, or None; point: x, y, or None. One of them is there.
    """

    label: str
    box: tuple[float, float, float, float] | None
    point: tuple[float, float] | None


class Spots(NamedTuple):
    """All that was found, in the order of the text, and what was wrong with it: each item that was
    left out or changed is named in `problems`."""

    spots: list[Spot]
    problems: list[str]


class _Item(NamedTuple):
    label: str
    numbers: Any  # as written
    is_box: bool


def find(
    text: str, pictures: Sequence[messages.SeenPicture], coordinates: str, picture: int = 0
) -> Spots:
    """Boxes and points in `text`, which speaks of picture number `picture`, from 0.

    pictures, coordinates: those of the reply. Never raises for what a model wrote.
    """
    found = Spots([], [])
    items = list(_items(text, found.problems))
    if not items:
        return found
    if not 0 <= picture < len(pictures):
        found.problems.append(
            f"{len(items)} places are left out: there is no picture {picture + 1} among the "
            f"reply's {len(pictures)}."
        )
        return found
    if coordinates not in ("thousandths", "pixels"):
        found.problems.append(
            f"{len(items)} places are left out: this model is not known to say where things are."
        )
        return found
    seen = pictures[picture]
    scale = _scale(seen, coordinates)
    for number, item in enumerate(items, 1):
        _add(item, f"item {number}", (seen.width, seen.height), scale, found)
    return found


def moved(spots: Sequence[Spot], left: float, top: float) -> list[Spot]:
    """The same in a larger picture, of which theirs is the part that begins at (left, top)."""
    return [
        Spot(
            spot.label,
            spot.box
            and (spot.box[0] + left, spot.box[1] + top, spot.box[2] + left, spot.box[3] + top),
            spot.point and (spot.point[0] + left, spot.point[1] + top),
        )
        for spot in spots
    ]


def _scale(seen: messages.SeenPicture, coordinates: str) -> tuple[float, float]:
    """Source pixels for each of the model's units, across and down."""
    if coordinates == "thousandths":
        return seen.width / THOUSAND, seen.height / THOUSAND
    return seen.width / max(seen.seen_width, 1), seen.height / max(seen.seen_height, 1)


def _add(
    item: _Item, name: str, size: tuple[int, int], scale: tuple[float, float], found: Spots
) -> None:
    wanted = 4 if item.is_box else 2
    numbers = item.numbers
    if (
        not isinstance(numbers, Sequence)
        or len(numbers) != wanted
        or not all(_is_number(value) for value in numbers)
    ):
        found.problems.append(
            f"{name} ({item.label or 'no label'}) is left out: {numbers!r:.{_EXCERPT}} is not "
            f"{wanted} numbers."
        )
        return
    across, down = sorted(numbers[0::2]), sorted(numbers[1::2])
    if item.is_box and [across[0], down[0], across[1], down[1]] != list(numbers):
        found.problems.append(f"{name} ({item.label or 'no label'}): its corners were exchanged.")
    xs = [_clamped(value * scale[0], size[0]) for value in across]
    ys = [_clamped(value * scale[1], size[1]) for value in down]
    outside = any(
        abs(value * unit - kept) > max(unit, 1.0)  # a unit too far is how rounding looks
        for values, unit, all_kept in ((across, scale[0], xs), (down, scale[1], ys))
        for value, kept in zip(values, all_kept)
    )
    if outside:
        found.problems.append(
            f"{name} ({item.label or 'no label'}) reaches out of the picture and was cut at its "
            "border."
        )
    if item.is_box:
        found.spots.append(Spot(item.label, (xs[0], ys[0], xs[1], ys[1]), None))
    else:
        found.spots.append(Spot(item.label, None, (xs[0], ys[0])))


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e9
        and math.isfinite(value)
    )


def _clamped(value: float, size: int) -> float:
    return min(max(value, 0.0), float(size))


def _items(text: str, problems: list[str]) -> list[_Item]:
    """What is written as JSON; if there is none, what is written as (x,y),(x,y)."""
    items = _json_items(text, problems)
    return items or list(_marked_items(text))


def _json_items(text: str, problems: list[str]) -> list[_Item]:
    decoder = json.JSONDecoder()
    items: list[_Item] = []
    at, cut = 0, False
    while opening := _OPENING.search(text, at):
        start = opening.start()
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            if text[start] == "[":
                cut = True  # its items are read one by one
            elif _speaks_of_places(text, start):
                cut = False
                problems.append(f"An item is not whole: {text[start : start + _EXCERPT]!r}")
            continue
        items += _items_in(value)
    if cut and items:
        problems.append("The list is not whole: the text may have ended before it.")
    return items


def _speaks_of_places(text: str, start: int) -> bool:
    """Whether the broken object from `start` to the next one seems to be a box or point."""
    following = text.find("{", start + 1)
    part = text[start : following if following >= 0 else len(text)]
    return any(f'"{key}"' in part for key in _BOX_KEYS + _POINT_KEYS)


def _items_in(value: object) -> Iterator[_Item]:
    if isinstance(value, list):
        for inner in value:
            yield from _items_in(inner)
    if not isinstance(value, Mapping):
        return
    label = next((str(value[key]) for key in _LABEL_KEYS if value.get(key) is not None), "")
    has_place = False
    for key in _BOX_KEYS + _POINT_KEYS:
        if key in value:
            has_place = True
            for numbers in _each(value[key]):
                yield _Item(label, numbers, key in _BOX_KEYS)
    if not has_place:  # such as {"objects": [...]}
        for inner in value.values():
            if isinstance(inner, (list, Mapping)):
                yield from _items_in(inner)


def _each(numbers: Any) -> list[Any]:
    """One item may have several places: [[…], […]]."""
    is_nested = isinstance(numbers, list) and numbers and isinstance(numbers[0], list)
    return list(numbers) if is_nested else [numbers]


def _marked_items(text: str) -> Iterator[_Item]:
    """label(x,y),(x,y): the marks around may be there, or were left out as special tokens."""
    plain = _MARKS.sub("\n", text) if "<|" in text else text
    label, end = "", 0
    for pairs in _PAIRS.finditer(plain):
        between = plain[end : pairs.start()].strip(" \n\t,;:")
        if between:
            label = re.split(r"[\n.;:]", between)[-1].strip()
        end = pairs.end()
        numbers = [float(value) for value in pairs.groups() if value is not None]
        yield _Item(label, numbers, len(numbers) == 4)
