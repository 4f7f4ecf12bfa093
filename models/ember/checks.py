"""Checks, before any training, that the fast path computes what transformers computes."""

import random

import torch
from transformers import AutoProcessor

import network
import packing
import world

TOLERANCE = 1e-4


def _stock_inputs(processor, image, request, answer):
    """What transformers' own processor makes of a conversation about `image`."""
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": request}]}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
    return processor(images=[image], text=[prompt + answer], return_tensors="pt")


def check(model, packer, folder):
    """Raise `AssertionError` unless pixels, tokens, positions and logits agree for every grid.

    `folder` holds the files of the tokenizer and the processors.
    """
    processor = AutoProcessor.from_pretrained(folder)
    model.eval()
    with torch.no_grad():
        worst = max(_difference(model, packer, processor, grid) for grid in packing.sizes_by_grid())
    model.train()
    assert worst <= TOLERANCE, f"fast path and transformers differ by {worst}"
    print(f"fast path agrees with transformers, logits within {worst:.1e}", flush=True)


def _difference(model, packer, processor, grid):
    """The largest difference of a logit between both ways for one picture of `grid` patches."""
    rows, columns = grid
    image, scene = world.draw(f"check {grid}", (columns * network.PATCH, rows * network.PATCH))
    fast_pixels = torch.from_numpy(packing.patches_of(image))
    row = packer.row(random.Random(0), scene, grid, plain=True)
    ids, positions, segments, _ = (torch.from_numpy(part) for part in row)
    tokens, deep, _ = network.see(model.model.visual, fast_pixels, [(1, grid)])
    scores = _fast_scores(model, ids, positions, segments, (tokens, deep))
    worst, ends = 0.0, packer.branches(random.Random(0), scene)
    for branch in range(1, int(segments.max()) + 1):
        request, answer = next(ends)
        stock = _stock_inputs(processor, image, request, answer)
        own = (segments == 0) | (segments == branch)
        assert torch.equal(stock["input_ids"][0], ids[own]), f"tokens of branch {branch}"
        assert tuple(stock["image_grid_thw"][0].tolist()) == (1, *grid), "grid of patches"
        # The processor repeats a still for both frames of a patch.
        pixels = stock["pixel_values"].view(-1, 3, network.FRAMES, network.PATCH**2)
        assert (pixels[:, :, 0].flatten(1) - fast_pixels).abs().max() < 1e-5, "pixels"
        places, _ = model.model.get_rope_index(
            stock["input_ids"], stock["mm_token_type_ids"], stock["image_grid_thw"]
        )
        assert torch.equal(places[:, 0], positions[:, own]), f"positions of branch {branch}"
        worst = max(worst, (model(**stock).logits[0] - scores[own]).abs().max().item())
    return worst


def _fast_scores(model, ids, positions, segments, features):
    """Logits [tokens, vocabulary] of one packed row by the training path."""
    text = model.model.language_model
    batch = packing.Batch(None, [], {}, None, segments=segments[None])
    embedded = text.embed_tokens(ids[None])
    index = (ids[None] == model.config.image_token_id)[..., None].expand_as(embedded)
    deep = torch.zeros_like(embedded).masked_scatter(index, features[1])
    embedded = embedded.masked_scatter(index, features[0])
    hidden = network.read(text, embedded, positions[:, None], batch.mask(), deep)
    return model.lm_head(hidden)[0]
