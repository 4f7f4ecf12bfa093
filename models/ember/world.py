"""The little world ember knows: coloured shapes on a plain ground.

A picture is drawn from a seed together with its `Scene`, the exact truth about it. Captions,
questions and scores all come from that truth, so training, evaluation, the quickstart and the tests
agree on what "right" means. Needs Pillow and NumPy only.
"""

import math
import random
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {
    "red": (214, 38, 40),
    "green": (40, 160, 62),
    "blue": (42, 82, 216),
    "yellow": (242, 216, 40),
    "orange": (242, 134, 26),
    "purple": (142, 52, 172),
}
BACKGROUNDS = {"white": (246, 246, 246), "black": (12, 12, 12), "gray": (128, 128, 128)}
SIZES = {"small": (0.23, 0.27), "large": (0.36, 0.42)}  # across, as a share of the short side
# Row by row, three to a row.
PLACES = (
    "top left", "top", "top right",
    "left", "middle", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
NUMBERS = ("no", "one", "two", "three")
COUNT_WEIGHTS = (6, 28, 33, 33)  # how often a picture holds 0, 1, 2 and 3 objects
SHORTEST_SIDE, LONGEST_SIDE = 128, 192  # pixels

PROMPT = "Describe this picture."
PROMPTS = (
    PROMPT, "Describe the picture.", "Describe the image.", "Describe this image.",
    "What is in this picture?", "What is in the image?", "What do you see?",
    "What does the picture show?", "What is shown here?", "What can you see in this image?",
    "Please describe what you see.", "Caption this image.", "Write a caption for this picture.",
    "Tell me what is in the picture.", "Describe what is shown.",
    "Give a description of the image.", "What's in this image?", "Describe it.",
    "Describe this image in one sentence.", "Please describe this picture in detail.",
)  # fmt: skip
# Any opening may meet any object and ending, so that the model listens to the gist of a request.
_OPENINGS = (
    "Describe", "Please describe", "Caption", "Please caption", "Tell me about", "Summarize",
    "Explain", "Can you describe", "Write a caption for", "Give me a description of",
    "Write one sentence about", "Look at", "Say what is in", "List the shapes in",
)  # fmt: skip
_OBJECTS = ("this", "the picture", "the image", "this picture", "this image", "this photo",
            "the drawing", "the scene", "what you see", "what is shown")  # fmt: skip
_ENDINGS = (".", "", "?", ", please.", " in detail.", " briefly.", " for me.", " in a few words.")

_SUPERSAMPLING = 4  # object masks are drawn this much larger, then averaged down
_NOISE_LEVELS = (0, 0, 2, 4, 7)


@dataclass(frozen=True)
class Thing:
    """One drawn object. `x`, `y` (centre) and `radius` are in pixels of the drawn picture."""

    shape: str
    colour: str
    size: str
    place: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """The truth about one picture; `things` are in reading order of their places."""

    width: int
    height: int
    background: str
    things: tuple[Thing, ...]


class Question(NamedTuple):
    """A question with its only right answer; `present` is false if it asks in vain."""

    kind: str
    text: str
    answer: str
    present: bool


def draw(seed, size=None, count_weights=COUNT_WEIGHTS):
    """Draw the picture of `seed`. Returns (RGB `PIL.Image`, `Scene`).

    `size` is (width, height) in pixels, drawn from 128 to 192 for each side if not given. The same
    arguments always give the same pixels.
    """
    rng = random.Random(seed)
    if size is None:
        size = tuple(rng.randint(SHORTEST_SIDE, LONGEST_SIDE) for _ in range(2))
    width, height = size
    background = rng.choice(tuple(BACKGROUNDS))
    count = rng.choices(range(len(count_weights)), count_weights)[0]
    things = _place_things(rng, count, width, height)
    image = Image.new("RGB", size, _jittered(rng, BACKGROUNDS[background], 8))
    for thing in things:
        _paint(rng, image, thing)
    return _noisy(rng, image), Scene(width, height, background, things)


def _place_things(rng, count, width, height):
    """Choose `count` objects whose bounding circles stay apart and inside the picture."""
    while True:
        things = []
        for place in rng.sample(range(9), count):
            thing = _random_thing(rng, place, width, height)
            if all(_apart(thing, other) for other in things):
                things.append(thing)
        if len(things) == count:
            return tuple(sorted(things, key=lambda thing: PLACES.index(thing.place)))


def _random_thing(rng, place, width, height):
    size = rng.choice(tuple(SIZES))
    radius = rng.uniform(*SIZES[size]) * min(width, height) / 2
    row, column = divmod(place, 3)
    # Big objects at the rim would stick out of the picture at the middle of their place, so they
    # are pulled inwards just far enough.
    centre = []
    for index, side in ((column, width), (row, height)):
        wish = ((2 * index + 1) / 6 + rng.uniform(-0.04, 0.04)) * side
        centre.append(min(max(wish, radius + 3), side - radius - 3))
    return Thing(
        rng.choice(SHAPES), rng.choice(tuple(COLOURS)), size, PLACES[place], *centre, radius
    )


def _apart(a, b):
    # Corners of a square reach a quarter beyond the circle of its size.
    return math.hypot(a.x - b.x, a.y - b.y) > (a.radius + b.radius) * 1.1 + 2


def _jittered(rng, colour, amount):
    return tuple(min(255, max(0, c + rng.randint(-amount, amount))) for c in colour)


# Unit outlines, y downwards. Scales differ so that all shapes of a size look about as wide.
def _polygon(points):
    return tuple((radius * math.sin(angle), -radius * math.cos(angle)) for radius, angle in points)


_STAR = _polygon((1.12 if i % 2 == 0 else 0.46, i * math.pi / 5) for i in range(10))
_TRIANGLE = _polygon((1.12, i * math.tau / 3) for i in range(3))
_SQUARE = ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88))
_ARM = 0.34
_CROSS = (
    (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
    (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
)  # fmt: skip
_OUTLINES = {"star": _STAR, "triangle": _TRIANGLE, "square": _SQUARE, "cross": _CROSS}


def _paint(rng, image, thing):
    """Paint one object onto `image`, turned by up to seven degrees, with soft edges."""
    reach = math.ceil(thing.radius * 1.25) + 2
    left, top = int(thing.x) - reach, int(thing.y) - reach
    mask = Image.new("L", (2 * reach * _SUPERSAMPLING,) * 2)
    centre = ((thing.x - left) * _SUPERSAMPLING, (thing.y - top) * _SUPERSAMPLING)
    scale = thing.radius * _SUPERSAMPLING
    angle = math.radians(rng.uniform(-7, 7))
    pen = ImageDraw.Draw(mask)
    if thing.shape == "circle":
        pen.ellipse(
            [centre[0] - scale, centre[1] - scale, centre[0] + scale, centre[1] + scale], 255
        )
    else:
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        outline = _OUTLINES[thing.shape]
        pen.polygon(
            [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in outline],
            255,
        )
    colour = _jittered(rng, COLOURS[thing.colour], 14)
    image.paste(colour, (left, top), mask.reduce(_SUPERSAMPLING))


def _noisy(rng, image):
    level = rng.choice(_NOISE_LEVELS)
    if level == 0:
        return image
    pixels = np.asarray(image)  # [height, width, 3]
    # One random byte per value through a table: far cheaper than a generator of normal values.
    table = (np.arange(256) % (2 * level + 1) - level).astype(np.int16)
    noise = table[np.frombuffer(rng.randbytes(pixels.size), np.uint8)].reshape(pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def at(place):
    """`place` with its preposition: "at the top left", "in the middle"."""
    return ("in the " if place == "middle" else "at the ") + place


def _a(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def _capitalised(text):
    return text[0].upper() + text[1:]


def _phrase(thing):
    return f"a {thing.size} {thing.colour} {thing.shape}"


def caption(scene):
    """The one sentence that tells everything: count, background, then each object and its place."""
    count = len(scene.things)
    shapes = "shape" if count == 1 else "shapes"
    head = f"{_capitalised(NUMBERS[count])} {shapes} on a {scene.background} background"
    parts = [f"{_phrase(thing)} {at(thing.place)}" for thing in scene.things]
    if len(parts) > 1:
        parts[-2:] = [f"{parts[-2]} and {parts[-1]}"]
    return head + (": " + ", ".join(parts) if parts else "") + "."


def caption_prompt(rng):
    """A request for a description: mostly one of `PROMPTS`, else put together at random."""
    choice = rng.random()
    if choice < 0.3:
        return PROMPT
    if choice < 0.65:
        return rng.choice(PROMPTS)
    return f"{rng.choice(_OPENINGS)} {rng.choice(_OBJECTS)}{rng.choice(_ENDINGS)}"


def questions(scene):
    """Every question about `scene` with its answer, as a list of `Question`.

    Nothing is asked that has two right answers. What is not there is asked for as well, so that a
    model cannot get by with always saying yes.
    """
    number = _capitalised(NUMBERS[len(scene.things)])
    asked = [
        Question("count", "How many shapes are there?", f"{number}.", True),
        Question(
            "background",
            "What colour is the background?",
            f"{_capitalised(scene.background)}.",
            True,
        ),
    ]
    by_place = {thing.place: thing for thing in scene.things}
    for place in PLACES:
        thing = by_place.get(place)
        answer = _capitalised(_phrase(thing)) + "." if thing else "Nothing."
        asked.append(Question("place", f"What is {at(place)}?", answer, thing is not None))
    for shape in SHAPES:
        asked += _about_shape(scene, shape)
    for colour in COLOURS:
        count = sum(thing.colour == colour for thing in scene.things)
        answer = f"{_capitalised(NUMBERS[count])}."
        asked.append(
            Question("colour count", f"How many {colour} shapes are there?", answer, count > 0)
        )
        asked += _about_pairs(scene, colour)
    return asked


def _about_shape(scene, shape):
    """Colour, size and place of the only `shape` there is, or that there is none."""
    same = [thing for thing in scene.things if thing.shape == shape]
    asked = [Question("exists", f"Is there {_a(shape)}?", "Yes." if same else "No.", bool(same))]
    if len(same) > 1:
        return asked
    missing = f"There is no {shape}."
    answers = (missing,) * 3
    if same:
        thing = same[0]
        answers = (
            f"{_capitalised(thing.colour)}.",
            f"{_capitalised(thing.size)}.",
            _capitalised(at(thing.place)) + ".",
        )
    texts = (f"What colour is the {shape}?", f"How big is the {shape}?", f"Where is the {shape}?")
    for kind, text, answer in zip(("colour", "size", "where"), texts, answers, strict=True):
        asked.append(Question(kind, text, answer, bool(same)))
    return asked


def _about_pairs(scene, colour):
    """Is there an object of this colour and that shape: only where one of the two does occur."""
    asked = []
    for shape in SHAPES:
        if any(thing.shape == shape or thing.colour == colour for thing in scene.things):
            found = any(thing.shape == shape and thing.colour == colour for thing in scene.things)
            text = f"Is there {_a(f'{colour} {shape}')}?"
            asked.append(Question("exists", text, "Yes." if found else "No.", found))
    return asked


_THING = re.compile(
    rf"\b(?P<size>{'|'.join(SIZES)}) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)}) "
    # Longest first, or "top" would swallow the start of "top left".
    rf"(?:at|in) the (?P<place>{'|'.join(sorted(PLACES, key=len, reverse=True))})\b"
)
_GROUND = re.compile(rf"\b({'|'.join(BACKGROUNDS)}) background")
_COUNT = re.compile(rf"^\W*({'|'.join(NUMBERS)}) shapes?\b", re.IGNORECASE)


def score(scene, text):
    """How many attributes of `scene` the description `text` gets right.

    Returns {attribute: (right, total)} for count, background, place, shape, colour and size. An
    object's attributes count only if an object was described at its very place, and an object
    described where there is none is one more place that is wrong.
    """
    described = {match["place"]: match for match in _THING.finditer(text)}
    count, ground = _COUNT.search(text), _GROUND.search(text)
    right_count = bool(count) and count[1].lower() == NUMBERS[len(scene.things)]
    tallies = {
        "count": (int(right_count), 1),
        "background": (int(bool(ground) and ground[1] == scene.background), 1),
    }
    places = {thing.place for thing in scene.things}
    tallies["place"] = (len(places & described.keys()), len(places | described.keys()))
    for attribute in ("shape", "colour", "size"):
        right = sum(
            described[thing.place][attribute] == getattr(thing, attribute)
            for thing in scene.things
            if thing.place in described
        )
        tallies[attribute] = (right, len(scene.things))
    return tallies
