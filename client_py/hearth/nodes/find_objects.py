"""*Find Objects (Hearth)*: says what to look for, gives boxes, masks and the picture with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .. import errors
from . import _boxes as boxes
from . import _models as models
from ._answer import show
from ._conversations import Conversation
from ._pictures import Part, Question, one_by_one, picture_parts
from ._questions import ask, warnings_of, with_notes
from ._sampling import pixel_inputs, sampling_of, seed_input
from ._schema import Input, Node, Output, Shown, from_contract

_ASK = (
    "Find {what} in this picture. Answer with a JSON list only; each item has"
    ' "bbox_2d": [left, top, right, bottom] and "label". When there is nothing, answer [].'
)
_FORM = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "bbox_2d": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 4,
                "maxItems": 4,
            },
            "label": {"type": "string"},
        },
        "required": ["bbox_2d", "label"],
        "additionalProperties": False,
    },
}
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#9a6324")


async def run(**inputs: Any) -> Shown:
    """Asks about each picture of the batch, several at once."""
    image, what = inputs["image"], inputs["what"]
    if not what.strip():
        raise errors.BadRequest("what is empty.", "Write what to look for, such as every cat.")
    text = Part("what", _ASK.replace("{what}", what.strip()))
    questions = [
        Question((*picture_parts("image", one["image"]), text))
        for one in one_by_one({"image": image})
    ]
    sampling = sampling_of(inputs)
    if inputs["strict"]:
        sampling["json_schema"] = json.dumps(_FORM)
    async with models.lent(models.picked(inputs)) as lent:
        _, replies = await ask(lent, questions, sampling, Conversation())
    found = [boxes.places_in(r, q.pictures, 0) for q, r in zip(questions, replies)]
    problems = [problem for one in found for problem in one.problems]
    texts = [reply.text for reply in replies]
    shown = with_notes(_counted(found), [*warnings_of(lent, replies), *problems])
    show(shown)
    return Shown((*boxes.outputs_of(found), _with_boxes(image, found), "\n\n".join(texts)), shown)


def _counted(found: Sequence[boxes.Places]) -> str:
    """A line for each picture: labels with their numbers."""
    lines = []
    for number, one in enumerate(found, 1):
        labels = [spot.label or "no label" for spot in one.spots]
        counts = [f"{labels.count(label)} x {label}" for label in dict.fromkeys(labels)]
        lines.append(f"picture {number}: {', '.join(counts) or 'nothing found'}")
    return "\n".join(lines)


def _with_boxes(image: Any, found: Sequence[boxes.Places]) -> Any:
    """IMAGE as it came in, with what was found drawn on it; a label has a colour of its own."""
    import torch
    from PIL import Image, ImageDraw

    drawn = []
    for pixels, one in zip(image, found):
        height, width = int(pixels.shape[0]), int(pixels.shape[1])
        colours = pixels[..., :3].expand(height, width, 3)  # also of one channel
        data = (colours.float().clamp(0, 1) * 255).round().byte().cpu()
        canvas = Image.frombytes("RGB", (width, height), bytes(data.contiguous().numpy()))
        pen = ImageDraw.Draw(canvas)
        labels = list(dict.fromkeys(spot.label for spot in one.spots))
        line = max(2, max(width, height) // 300)
        for spot in one.spots:
            colour = _COLOURS[labels.index(spot.label) % len(_COLOURS)]
            left, top, right, bottom = spot.box or (*(spot.point or ()), *(spot.point or ()))
            pen.rectangle((left, top, right, bottom), outline=colour, width=line)
            label = spot.label.encode("latin-1", "replace")  # all that Pillow's own font has
            pen.text((left + line + 2, top + line), label.decode("latin-1"), fill=colour)
        made = torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8)
        drawn.append(made.view(height, width, 3).float() / 255)
    return torch.stack(drawn)


NODE = Node(
    node_id="HearthFindObjects",
    display_name="Find Objects (Hearth)",
    category="Hearth/text",
    description="Looks for what you name and gives boxes, a mask and the picture with the boxes"
    " drawn on it. For models that can point at things, such as Qwen2.5-VL, Qwen3-VL and Qwen3.5.",
    inputs=(
        Input("image", "IMAGE", "One picture or a batch; each is searched by itself."),
        models.llm_input(),
        models.model_input(),
        Input(
            "what",
            "STRING",
            "What to look for, in your own words: every cat; the red car and its number plate.",
            {"default": "every distinct object", "multiline": True},
        ),
        from_contract("max_tokens", "INT", default=1024),
        from_contract("temperature", "FLOAT", default=0.0),
        seed_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        Input(
            "strict",
            "BOOLEAN",
            "Holds the model to the form of a list of boxes, word by word. For models that add"
            " explanations.",
            {"default": False, "advanced": True},
            optional=True,
        ),
        *pixel_inputs(),
        models.download_input(),
    ),
    outputs=(
        *boxes.OUTPUTS,
        Output("picture", "IMAGE", "The pictures with what was found drawn on them."),
        Output("text", "STRING", "What the model wrote."),
    ),
    run=run,
    validate=models.validate,
    search_aliases=("detect", "grounding", "bbox", "boxes", "segment", "locate", "sam"),
)
