"""Measures how truthfully ember describes pictures it has never seen.

Everything takes the ordinary way: transformers' own processor, bf16 weights, the model's own words
by free greedy decoding, one picture at a time. Prints the shares and writes them as JSON.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

import world

QUESTIONS_PER_PICTURE = 3


class Speaker:
    """The model with its processor."""

    def __init__(self, folder):
        self._processor = AutoProcessor.from_pretrained(folder)
        self._model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)

    @torch.no_grad()
    def answer(self, image, request):
        """The model's whole reply to `request` about the PIL image."""
        content = [{"type": "image"}, {"type": "text", "text": request}]
        prompt = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self._processor(images=[image], text=[prompt], return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
        told = self._model.generate(**inputs, max_new_tokens=80, do_sample=False)
        new = told[0, inputs["input_ids"].shape[1] :]
        return self._processor.decode(new, skip_special_tokens=True)


class Tally:
    """Counts of right and all, by name."""

    def __init__(self):
        self._right, self._total = Counter(), Counter()

    def add(self, name, right, total=1):
        """Count `right` of `total` under `name`."""
        self._right[name] += int(right)
        self._total[name] += total

    def percent(self, name=None):
        """The share that was right under `name`, or under all names, in percent."""
        right = self._right.total() if name is None else self._right[name]
        total = self._total.total() if name is None else self._total[name]
        return round(100 * right / max(1, total), 1)

    def by_name(self):
        """{name: percent}."""
        return {name: self.percent(name) for name in self._total}


def held_out(index):
    """The arguments of `world.draw` for test picture `index`; training never draws such a seed."""
    return f"held out {index}"


def measure_captions(speaker, pictures, request=None, size=None):
    """Caption `pictures` pictures. Returns (attributes `Tally`, exact `Tally`, some failures).

    `request` is a function of a `random.Random`, else the usual prompt is used; so is `size`, which
    then chooses (width, height).
    """
    attributes, exact, failures = Tally(), Tally(), []
    for index in range(pictures):
        rng = random.Random(f"held out {index}")
        prompt = request(rng) if request else world.PROMPT
        image, scene = world.draw(held_out(index), size(rng) if size else None)
        told, truth = speaker.answer(image, prompt), world.caption(scene)
        for attribute, (right, total) in world.score(scene, told).items():
            attributes.add(attribute, right, total)
        exact.add(f"{len(scene.things)} objects", told == truth)
        if told != truth:
            failures.append(
                {"seed": held_out(index), "prompt": prompt, "told": told, "truth": truth}
            )
    return attributes, exact, failures


def measure_questions(speaker, pictures):
    """Ask a few questions about each picture. Returns a `Tally` by kind of question."""
    tally = Tally()
    for index in range(pictures):
        rng = random.Random(f"questions {index}")
        image, scene = world.draw(held_out(index))
        asked = world.questions(scene)
        for kind in rng.sample(
            sorted({question.kind for question in asked}), QUESTIONS_PER_PICTURE
        ):
            # What is there is asked about as often as what is not.
            present = rng.random() < 0.5
            group = [question for question in asked if question.kind == kind]
            group = [question for question in group if question.present == present] or group
            question = rng.choice(group)
            tally.add(kind, speaker.answer(image, question.text) == question.answer)
    return tally


def report(speaker, pictures):
    """All figures, in percent, as a dictionary."""
    attributes, exact, failures = measure_captions(speaker, pictures)
    figures = {
        "pictures": pictures,
        "attributes": attributes.percent(),
        "exact captions": exact.percent(),
        "by attribute": attributes.by_name(),
        "exact by number of objects": dict(sorted(exact.by_name().items())),
    }
    asked = measure_questions(speaker, pictures)
    figures["questions"] = {
        "asked": pictures * QUESTIONS_PER_PICTURE,
        "right": asked.percent(),
        "by kind": dict(sorted(asked.by_name().items())),
    }
    some = pictures // 3
    _, other, _ = measure_captions(speaker, some, request=world.caption_prompt)
    figures["exact captions with other prompts"] = {"pictures": some, "exact": other.percent()}
    _, large, _ = measure_captions(speaker, some, size=larger_size)
    figures["exact captions of 200 to 400 pixel sides"] = {
        "pictures": some,
        "exact": large.percent(),
    }
    return figures, failures


def larger_size(rng):
    """A size beyond those of `world.draw`, so that the processor has to shrink the picture."""
    width = rng.randint(200, 400)
    return width, max(200, min(400, round(width * rng.uniform(0.75, 1.33))))


def main():
    folder = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=folder / "weights")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=folder / "accuracy.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures, failures = report(Speaker(arguments.model), arguments.pictures)
    for failure in failures:
        print(json.dumps(failure))
    text = json.dumps(figures, indent=2)
    print(text)
    arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
