"""The whole path against the reference: 200 pictures nobody has seen before, drawn from a seed
chosen now, sent through shared memory to the daemon and, beside it, to transformers in fp32.

The token ids must be equal, prompt and answer. The words are also held against the truth.
"""

import os
import random
import sys
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "models/ember/weights"
PICTURES = int(os.environ.get("HEARTH_EMBER_PICTURES", "200"))
sys.path.insert(0, str(ROOT / "models/ember"))

torch = pytest.importorskip("torch", reason="transformers' side of the comparison needs torch")
transformers = pytest.importorskip("transformers")
import world  # noqa: E402


class Reference:
    """transformers, fp32, with its own processor."""

    def __init__(self):
        self.processor = transformers.AutoProcessor.from_pretrained(WEIGHTS)
        self.model = transformers.Qwen3VLForConditionalGeneration.from_pretrained(
            WEIGHTS, dtype=torch.float32
        ).eval()

    def inputs(self, image, prompt):
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return self.processor(images=[image], text=[text], return_tensors="pt")

    def clip_answer(self, frames, indices, fps, prompt, max_tokens):
        """As answer(), of frames [count, height, width, 3] with these numbers in their source. The
        placeholder's own marks go away, as in training: transformers leaves them (families.md)."""
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        said = {"fps": fps, "frames_indices": indices, "total_num_frames": indices[-1] + 1}
        inputs = self.processor(
            videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], text=[text],
            video_metadata=[said], do_sample_frames=False, return_tensors="pt",
        )  # fmt: skip
        ids = inputs["input_ids"][0].tolist()
        start, end = (
            self.processor.tokenizer.convert_tokens_to_ids(f"<|vision_{mark}|>")
            for mark in ("start", "end")
        )
        kept = [index for index in range(len(ids)) if index != ids.index(start)]
        kept.remove(len(ids) - 1 - ids[::-1].index(end))
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            inputs[name] = inputs[name][:, kept]
        with torch.inference_mode():
            found = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[0]
        return found[: len(kept)].tolist(), found[len(kept) :].tolist()

    def hidden_states(self, image, prompt):
        """Returns (prompt ids, one [tokens, hidden] for each state)."""
        inputs = self.inputs(image, prompt)
        with torch.inference_mode():
            states = self.model(**inputs, output_hidden_states=True).hidden_states
        return inputs["input_ids"][0].tolist(), [state[0] for state in states]

    def answer(self, image, prompt, max_tokens):
        """Returns (prompt ids, generated ids) of greedy decoding."""
        inputs = self.inputs(image, prompt)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[0]
        length = inputs["input_ids"].shape[1]
        return ids[:length].tolist(), ids[length:].tolist()

    def beams(self, image, prompt, **options):
        """Returns (generated ids, score) of each answer of a beam search, best first."""
        inputs = self.inputs(image, prompt)
        with torch.inference_mode():
            found = self.model.generate(
                **inputs,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        answers = []
        for ids in found.sequences[:, inputs["input_ids"].shape[1] :].tolist():
            last = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
            answers.append(ids[: last + 1])
        return answers, found.sequences_scores.tolist()


@pytest.fixture(scope="module")
def reference():
    torch.set_num_threads(2)
    return Reference()


@pytest.mark.watchdog(600)
def test_token_ids_equal_transformers_and_words_are_true(daemon, reference):
    seed = random.SystemRandom().randrange(2**32)
    print(f"pictures drawn from seed {seed}")
    right = total = exact = 0
    with daemon.connect() as client:
        model = client.offer_model(WEIGHTS, dtype="float32")
        for index in range(PICTURES):
            image, scene = world.draw(seed + index)
            pixels = numpy.asarray(image)
            messages = [{"role": "user", "content": [pixels, world.PROMPT]}]
            reply = client.generate(model, messages, temperature=0.0, max_tokens=80)
            expected = reference.answer(image, world.PROMPT, 80)
            got = (list(reply.prompt_token_ids), list(reply.token_ids))
            assert got == expected, f"picture {seed + index}: {reply.text}"
            tallies = world.score(scene, reply.text).values()
            right += sum(part[0] for part in tallies)
            total += sum(part[1] for part in tallies)
            exact += reply.text == world.caption(scene)
    print(f"{PICTURES} pictures: attributes {right / total:.1%}, captions {exact / PICTURES:.1%}")
    assert right / total >= 0.98, f"ember told {right} of {total} attributes, seed {seed}"
    assert exact / PICTURES >= 0.92, f"{exact} of {PICTURES} captions are exact, seed {seed}"


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_clip_is_seen_as_transformers_sees_it(daemon, reference, count):
    seed = random.SystemRandom().randrange(2**32)
    print(f"frames drawn from seed {seed}")
    frames = numpy.stack(
        [numpy.asarray(world.draw(seed + i)[0].resize((96, 64))) for i in range(count)]
    )
    indices = [3 * i + 2 for i in range(count)]
    clip = {"video": frames, "fps": 10.0, "indices": indices}
    with daemon.connect() as client:
        model = client.offer_model(WEIGHTS, dtype="float32")
        chat = [{"role": "user", "content": [clip, world.PROMPT]}]
        counted = client.count_tokens(model, chat)
        reply = client.generate(model, chat, temperature=0.0, max_tokens=40)
    # transformers takes no single frame: ours is a step whose frames are the same.
    twice = (frames, indices) if count > 1 else (frames.repeat(2, 0), indices * 2)
    expected = reference.clip_answer(*twice, 10.0, world.PROMPT, 40)
    assert (reply.prompt_token_ids, reply.token_ids) == expected
    (seen,) = reply.pictures
    assert (seen.width, seen.height, seen.frames) == (96, 64, count)
    assert seen.tokens == reply.receipt.image_tokens
    assert counted.prompt_tokens == len(reply.prompt_token_ids)
    assert (counted.image_tokens, counted.pictures) == (seen.tokens, reply.pictures)
    assert reply.coordinates == "none", "ember has no marks for boxes"


@pytest.mark.watchdog(120)
def test_hidden_states_of_every_layer_equal_transformers(daemon, reference):
    seed = random.SystemRandom().randrange(2**32)
    print(f"pictures drawn from seed {seed}")
    worst = 0.0
    with daemon.connect() as client:
        model = client.offer_model(WEIGHTS, dtype="float32")
        for index in range(5):
            image, _ = world.draw(seed + index)
            ids, states = reference.hidden_states(image, world.PROMPT)
            messages = [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]
            layers = [*range(len(states)), -1, -2]
            encoded = client.encode(model, messages, layer=layers)
            assert list(encoded.prompt_token_ids) == ids
            for layer, hidden in zip(layers, encoded.hidden, strict=True):
                worst = max(worst, (hidden - states[layer]).abs().max().item())
    print(f"largest difference {worst:.1e}")
    assert worst <= 1e-4


@pytest.mark.watchdog(300)
@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 0.0), (8, 1.0)])
def test_beams_equal_transformers(daemon, reference, beams, penalty):
    # Fixed pictures: where two sums were equal to rounding, either would be right.
    image, _ = world.draw(100 + beams)
    messages = [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]
    expected, scores = reference.beams(
        image,
        world.PROMPT,
        num_beams=beams,
        num_return_sequences=beams,
        length_penalty=penalty,
        max_new_tokens=60,
    )
    with daemon.connect() as client:
        model = client.offer_model(WEIGHTS, dtype="float32")
        reply = client.generate(
            model, messages, beams=beams, answers=beams, length_penalty=penalty, max_tokens=60
        )
    assert [reply.token_ids, *(other.token_ids for other in reply.others)] == expected
    got = [reply.score, *(other.score for other in reply.others)]
    assert got == pytest.approx(scores, rel=1e-4, abs=1e-4)


def test_the_first_of_several_answers_is_the_single_one(daemon):
    image, _ = world.draw(7)
    messages = [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]
    options = dict(temperature=1.5, top_k=0, top_p=1.0, seed=11, max_tokens=40)
    with daemon.connect() as client:
        model = client.offer_model(WEIGHTS, dtype="float32")
        single = client.generate(model, messages, **options)
        four = client.generate(model, messages, answers=4, **options)
        again = client.generate(model, messages, answers=2, **options)
    assert four.token_ids == single.token_ids
    assert len(four.others) == 3 and four.others[0].token_ids == again.others[0].token_ids
    assert four.receipt.generated_tokens == sum(
        len(ids) for ids in [four.token_ids, *(other.token_ids for other in four.others)]
    )
