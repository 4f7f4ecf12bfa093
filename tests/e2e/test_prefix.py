"""Nothing is computed twice: prompts that begin alike, through the whole service."""

import asyncio

import numpy
import pytest
from service import wait_until

import hearth.aio
from hearth import errors

PICTURES = 24


def ask(*content):
    return [{"role": "user", "content": list(content)}]


def picture(seed):
    return numpy.random.default_rng(seed).integers(0, 256, (320, 320, 3), numpy.uint8)  # 100 tokens


def prefix_cache(client):
    return [cache for cache in client.status().caches if cache.name == "prefix"]


def test_the_same_picture_with_another_question_costs_the_question_only(client, fake_model):
    model = client.offer_model(fake_model())
    first = client.generate(model, ask(picture(1), "what is it?"), temperature=0)
    second = client.generate(model, ask(picture(1), "where is it?"), temperature=0)
    assert first.receipt.cached_tokens == first.receipt.cached_pictures == 0
    assert second.receipt.cached_pictures == 1
    assert second.receipt.cached_tokens == 1 + 100 + len("wh")
    assert second.text.endswith("where is it?")
    wait_until(lambda: any(c.hits == 1 for c in prefix_cache(client)), what="the report of a hit")
    cache = prefix_cache(client)[0]
    assert cache.misses == 1 and 0 < cache.bytes <= cache.budget_bytes


def test_a_request_that_no_memory_could_hold_is_refused_with_the_numbers(client, fake_model):
    model = client.offer_model(fake_model(pages=4))  # of 32 tokens
    with pytest.raises(errors.OutOfMemory, match="for 128 tokens"):
        client.generate(model, ask("x" * 100), max_tokens=100)
    assert client.generate(model, ask("x" * 100), max_tokens=26, temperature=0).text == "x" * 26


@pytest.mark.watchdog(60)
def test_many_pictures_are_captioned_at_once_each_as_it_is(start_daemon, fake_model):
    """More requests than slots; each answer names the picture's own bytes."""
    daemon = start_daemon("--slots", "16")
    folder = fake_model(script="!wait step 1")

    async def caption():
        async with await hearth.aio.connect(daemon.socket, 5) as client:
            model = await client.offer_model(folder)
            asked = [
                client.generate(model, ask(picture(seed), "describe"), temperature=0)
                for seed in range(PICTURES)
            ]
            return await asyncio.gather(*asked)

    texts = [reply.text for reply in asyncio.run(caption())]
    assert len(set(texts)) == PICTURES
    with daemon.connect() as client:
        alone = client.generate(
            client.offer_model(folder), ask(picture(3), "describe"), temperature=0
        )
    assert alone.text == texts[3]
