"""A client of `hearth selftest`, as a process of its own: describes a picture, or works until it is
killed. Pictures are drawn here, so that neither Pillow nor numpy is needed."""

from __future__ import annotations

import itertools
import json
import sys

from .. import client, errors

_SIDE = 160
_GROUND, _RED, _BLUE = (242, 242, 242), (214, 38, 41), (31, 90, 200)
_SQUARE = ("square", 80, 80, 28, _RED)
_LEFT, _RIGHT = ("square", 45, 80, 24, _RED), ("circle", 115, 80, 26, _BLUE)
# name: its shapes, and what ember says of it
PICTURES = {
    "a red square": (
        (_SQUARE,),
        "One shape on a white background: a large red square in the middle.",
    ),
    "two shapes": (
        (_LEFT, _RIGHT),
        "Two shapes on a white background: a large red square at the left and a large blue circle "
        "at the right.",
    ),
}
_OF_THE_VICTIM = (("circle", 80, 80, 30, _BLUE),)  # another one, so that no cache serves it
QUESTION = "Describe this picture."


def picture(shapes: tuple[tuple[str, int, int, int, tuple[int, int, int]], ...]) -> memoryview:
    """u8 [height, width, 3]."""
    pixels = bytearray(_GROUND * (_SIDE * _SIDE))
    for kind, x, y, radius, colour in shapes:
        for row in range(y - radius, y + radius + 1):
            half = radius
            if kind == "circle":
                half = int((radius**2 - (row - y) ** 2) ** 0.5)
            start = 3 * (row * _SIDE + x - half)
            pixels[start : start + 3 * (2 * half + 1)] = bytes(colour * (2 * half + 1))
    return memoryview(pixels).cast("B", (_SIDE, _SIDE, 3))


def main() -> int:
    """selftest_client SOCKET NAME"""
    socket, name = sys.argv[1:]
    try:
        with client.connect(socket, timeout=10.0) as service:
            if name == "victim":
                _work_forever(service)
            chat = [{"role": "user", "content": [picture(PICTURES[name][0]), QUESTION]}]
            reply = service.generate("ember", chat, temperature=0.0, max_tokens=64)
    except errors.HearthError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"text": reply.text, "receipt": reply.receipt.to_fields()}))
    return 0


def _work_forever(service: client.Client) -> None:
    """Holds the model and shared memory, and always has a request open."""
    service.load("ember")
    kept = service.put(picture(_OF_THE_VICTIM))
    chat = [{"role": "user", "content": [kept, QUESTION]}]
    for seed in itertools.count():
        for _ in service.generate("ember", chat, True, temperature=2.0, top_k=0, seed=seed):
            if seed == 0:
                print("at work", flush=True)


if __name__ == "__main__":
    sys.exit(main())
