"""Places that a model has named, as the outputs of a node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ._pictures import Part
from ._schema import Output

if TYPE_CHECKING:
    from ..grounding import Spot
    from ..replies import Reply

_POINT_RADIUS = 0.01  # of the picture's longer side: a point's disc in the mask
_NO_PICTURE = (64, 64)  # ComfyUI's own size of a mask of nothing

OUTPUTS = (
    Output(
        "boxes",
        "BBOX",
        "Boxes in the answer, for each picture a list of [left, top, right, bottom] in its pixels.",
    ),
    Output(
        "bounding_boxes",
        "BOUNDING_BOX",
        "The same as ComfyUI's own nodes take them: x, y, width, height and label.",
    ),
    Output("mask", "MASK", "White where boxes are, a disc at each point; one for each picture."),
    Output("places", "STRING", "All places with their labels as JSON, in pixels of the picture."),
)


class Places(NamedTuple):
    """What one answer says of one picture. size: its width and height, (0, 0) without a picture."""

    spots: list[Spot]
    problems: list[str]
    size: tuple[int, int]


def places_in(reply: Reply, pictures: Sequence[Part], number: int) -> Places:
    """Places that the answer names in its picture of this number, from 0, in pixels of the picture
    that came in by the socket, also when the model saw a part of it only."""
    from .. import grounding

    if not 0 <= number < len(pictures):
        lacks = f"boxes_of is {number + 1}; the prompt has {len(pictures)}: no boxes are given."
        return Places([], [lacks] if pictures else [], (0, 0))
    part = pictures[number]
    before = len(reply.pictures) - len(pictures)  # those of earlier turns
    found = grounding.find(reply.text, reply.pictures, reply.coordinates, before + number)
    return Places(
        grounding.moved(found.spots, part.left, part.top), list(found.problems), part.size
    )


def outputs_of(places: Sequence[Places]) -> tuple[Any, ...]:
    """Values of OUTPUTS, an element for each picture. Sizes may differ: masks are as large as the
    largest picture then, the smaller ones at its upper left."""
    boxes = [[_rounded(spot.box) for spot in one.spots if spot.box] for one in places]
    cores = [[_core(spot) for spot in one.spots if spot.box] for one in places]
    listed = [_listed(spot, number) for number, one in enumerate(places) for spot in one.spots]
    return boxes, cores, _masks(places), json.dumps(listed, ensure_ascii=False, indent=1)


def _rounded(box: Sequence[float]) -> list[int]:
    return [round(value) for value in box]


def _core(spot: Spot) -> dict[str, Any]:
    left, top, right, bottom = _rounded(spot.box or ())
    size = {"width": right - left, "height": bottom - top}
    return {"x": left, "y": top, **size, "label": spot.label, "score": 1.0}


def _listed(spot: Spot, number: int) -> dict[str, Any]:
    where = {"box": _rounded(spot.box)} if spot.box else {"point": _rounded(spot.point or ())}
    return {"picture": number, "label": spot.label, **where}


def _masks(places: Sequence[Places]) -> Any:
    """MASK [pictures, height, width]."""
    import torch

    widths, heights = zip(*(one.size if one.size != (0, 0) else _NO_PICTURE for one in places))
    masks = torch.zeros(len(places), max(heights), max(widths))
    rows = torch.arange(max(heights))[:, None]
    columns = torch.arange(max(widths))[None, :]
    for mask, one in zip(masks, places):
        for spot in one.spots:
            if spot.box:
                left, top, right, bottom = _rounded(spot.box)
                mask[top:bottom, left:right] = 1.0
            elif spot.point:
                x, y = spot.point
                radius = max(1.0, _POINT_RADIUS * max(one.size))
                mask[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = 1.0
    return masks
