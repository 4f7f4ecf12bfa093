"""Turns pictures and what is to be said about them into dense training batches.

A row holds one picture and several things said about it: the picture's tokens once, as a prefix,
then branches (a caption, then questions). Each branch sees the prefix and itself, and its positions
go on from the prefix as if it were alone, so one pass over a picture trains several conversations.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

import world
from network import CELL, MERGE, PATCH, PATCH_LABELS

ROW_TOKENS = 128
MIN_PIXELS, MAX_PIXELS = 128 * 128, 160 * 160
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
EASY_COUNTS = (0, 1, 1, 0)  # the first lessons: one or two objects
_LABELS = {
    "shape": world.SHAPES,
    "colour": tuple(world.COLOURS),
    "size": tuple(world.SIZES),
    "place": world.PLACES,
}


@dataclass
class Batch:
    """One training step's input; shapes as in `network.see` and `network.read`."""

    pixels: torch.Tensor  # [patches, 768]
    groups: list  # [(pictures, (rows, columns) in patches)]
    labels: dict  # {label: [patches]}
    objects: torch.Tensor  # bool [patches], true on an object
    ids: torch.Tensor = None  # [rows, tokens]
    positions: torch.Tensor = None  # [3, rows, tokens]
    segments: torch.Tensor = None  # [rows, tokens]; 0 prefix, then 1.. per branch, -1 padding
    targets: torch.Tensor = None  # [rows, tokens], the next token where it is learned, else -100

    def mask(self):
        """bool [rows, 1, tokens, tokens]: earlier tokens of the prefix and of one's own branch."""
        own, other = self.segments[:, :, None], self.segments[:, None, :]
        tokens = self.segments.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        return (((other == 0) | (own == other)) & causal)[:, None]


@lru_cache(maxsize=1)
def sizes_by_grid():
    """{(rows, columns) in patches: [(width, height)]}: picture sizes that are resized to a grid."""
    rng = random.Random("sizes")
    table = {}
    for attempt in range(20000):
        longest = 400 if attempt % 6 == 0 else world.LONGEST_SIDE
        width, height = (rng.randint(world.SHORTEST_SIDE, longest) for _ in range(2))
        if max(width, height) > 1.6 * min(width, height):
            continue
        resized = smart_resize(height, width, CELL, MIN_PIXELS, MAX_PIXELS)
        grid = tuple(side // PATCH for side in resized)
        table.setdefault(grid, []).append((width, height))
    return {grid: sizes for grid, sizes in table.items() if len(sizes) > 100}


def patches_of(image):
    """[patches, 768] of an image with sides of whole cells, normalised as the processor does."""
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    cut = pixels.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    # Blocks of merged patches in reading order, within a block patch by patch, channels outermost.
    return cut.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns * MERGE**2, -1)


@lru_cache(maxsize=64)
def patch_centres(grid):
    """[patches, 2]: each patch's centre (x, y) as shares of the sides, in the processor's order."""
    rows, columns = grid
    y, x = np.mgrid[0:rows, 0:columns]
    centres = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], axis=-1)
    cut = centres.reshape(rows // MERGE, MERGE, columns // MERGE, MERGE, 2)
    return cut.transpose(0, 2, 1, 3, 4).reshape(-1, 2)


def patch_labels(scene, grid):
    """What each patch shows: int64 [patches, labels], 0 for no object; the background last."""
    labels = np.zeros((grid[0] * grid[1], len(PATCH_LABELS)), np.int64)
    centres = patch_centres(grid) * (scene.width, scene.height)
    for thing in scene.things:
        distances = np.hypot(*(centres - (thing.x, thing.y)).T)
        # Half a patch of tolerance, or a small object between four patches would have none.
        on = distances < np.maximum(thing.radius, 0.6 * scene.width / grid[1])
        labels[on, :4] = [
            1 + choices.index(getattr(thing, name)) for name, choices in _LABELS.items()
        ]
    labels[:, 4] = tuple(world.BACKGROUNDS).index(scene.background)
    return labels


class Packer:
    """Draws the batches of a run; the same seed and step give the same batch."""

    def __init__(self, tokenizer, config):
        self._config = config
        self.token_id = tokenizer.token_to_id
        self._encode = lru_cache(maxsize=20000)(lambda text: tokenizer.encode(text).ids)
        self._end = self._encode("<|im_end|>")

    def pictures(self, seed, grids, each, count_weights=world.COUNT_WEIGHTS):
        """A `Batch` without text: `each` pictures of every grid of `grids`; and their scenes."""
        rng = random.Random(seed)
        pixels, labels, scenes = [], [], []
        for grid in grids:
            height, width = (side * PATCH for side in grid)
            for _ in range(each):
                # Half the pictures need resizing, most of them a little, some from twice the size.
                size = rng.choice(sizes_by_grid()[grid]) if rng.random() < 0.5 else (width, height)
                image, scene = world.draw(rng.getrandbits(62), size, count_weights)
                if size != (width, height):
                    image = image.resize((width, height), Image.Resampling.BICUBIC)
                pixels.append(patches_of(image))
                labels.append(patch_labels(scene, grid))
                scenes.append(scene)
        labels = torch.from_numpy(np.concatenate(labels))
        batch = Batch(
            pixels=torch.from_numpy(np.concatenate(pixels)),
            groups=[(each, grid) for grid in grids],
            labels=dict(zip(PATCH_LABELS, labels.unbind(1), strict=True)),
            objects=labels[:, 0] > 0,
        )
        return batch, scenes

    def conversations(self, seed, grids, each, count_weights=world.COUNT_WEIGHTS):
        """A `Batch` with text, one row a picture."""
        batch, scenes = self.pictures(seed, grids, each, count_weights)
        rng = random.Random(f"text {seed}")
        row_grids = [grid for grid in grids for _ in range(each)]
        rows = [self.row(rng, scene, grid) for scene, grid in zip(scenes, row_grids, strict=True)]
        ids, positions, segments, targets = (
            torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)
        )
        batch.ids, batch.segments, batch.targets = ids, segments, targets
        batch.positions = positions.transpose(0, 1).contiguous()
        return batch

    def prefix(self, grid, before=""):
        """Ids and positions [3, tokens] from the start to the end of the picture."""
        start = self._encode(before + "<|vision_start|>")
        rows, columns = (side // MERGE for side in grid)
        ids = (
            start
            + [self._config.image_token_id] * (rows * columns)
            + self._encode("<|vision_end|>")
        )
        y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1) + len(start)
        picture = np.stack([np.full_like(y, len(start)), y, x])
        after = len(start) + max(rows, columns)
        lead = np.broadcast_to(np.arange(len(start)), (3, len(start)))
        return ids, np.concatenate([lead, picture, np.full((3, 1), after)], axis=1)

    def branches(self, rng, scene):
        """Pairs of request and answer, the caption first, then questions without end."""
        yield world.caption_prompt(rng), world.caption(scene)
        asked = {}
        for question in world.questions(scene):
            asked.setdefault((question.kind, question.present), []).append(question)
        kinds = sorted({kind for kind, _ in asked})
        while True:
            kind = rng.choice(kinds)
            # What is there is asked about as often as what is not, though there is less of it.
            group = (
                asked.get((kind, rng.random() < 0.6))
                or asked.get((kind, True))
                or asked[(kind, False)]
            )
            question = rng.choice(group)
            text = question.text
            yield text.replace("colour", "color") if rng.random() < 0.4 else text, question.answer

    def row(self, rng, scene, grid, plain=False):
        """One packed row: ids [tokens], positions [3, tokens], segments and targets [tokens].

        A `plain` row has neither of the variations that other rows have now and then: a system
        message, and the request before the picture, when there is room for one branch only.
        """
        opening, request_first = "<|im_start|>user\n", None
        if not plain:
            opening = (SYSTEM if rng.random() < 0.15 else "") + opening
            request_first = world.caption_prompt(rng) if rng.random() < 0.1 else None
        prefix, places = self.prefix(grid, opening + (request_first or ""))
        ids = np.zeros(ROW_TOKENS, np.int64)
        segments = np.full(ROW_TOKENS, -1, np.int64)
        targets = np.full(ROW_TOKENS, -100, np.int64)
        positions = np.zeros((3, ROW_TOKENS), np.int64)
        start = len(prefix)
        ids[:start], segments[:start], positions[:, :start] = prefix, 0, places
        for branch, (request, answer) in enumerate(self.branches(rng, scene), 1):
            request = "" if request_first else request
            ask = self._encode(request + "<|im_end|>\n<|im_start|>assistant\n")
            tell = self._encode(answer) + self._end
            # The closing token is only a target: nothing follows that would look at it.
            told = (ask + tell)[:-1]
            stop = start + len(told)
            if stop > ROW_TOKENS:
                break
            ids[start:stop], segments[start:stop] = told, branch
            positions[:, start:stop] = places[0, -1] + 1 + np.arange(len(told))
            targets[stop - len(tell) : stop] = tell
            start = stop
            if request_first:
                break
        return ids, positions, segments, targets
