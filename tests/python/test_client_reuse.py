"""Answers that may be given again: what the client calls them, and what it asks about memory."""

import asyncio

import numpy
import pytest

import hearth.aio
import hearth.client
from hearth import messages
from server import generated, replies

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
OTHER = PICTURE[::-1].copy()


def keys(service):
    found = [one for peer in service.peers for one in peer.messages_of(messages.Generate)]
    return [one.result_key for one in found]


def ask(client, *content, **more):
    chat = [{"role": "user", "content": ["What is this?", *content]}]
    return client.generate("ember", chat, reuse=True, **more)


def test_only_who_asks_for_it_names_a_result(client, service):
    client.generate("ember", [{"role": "user", "content": ["What?", PICTURE]}])
    ask(client, PICTURE)
    assert keys(service)[0] == ""
    assert len(keys(service)[1]) == 32


def test_equal_pixels_have_an_equal_key_whatever_holds_them(client, service):
    torch = pytest.importorskip("torch")
    with client.put(PICTURE) as kept:
        ask(client, PICTURE)
        ask(client, torch.from_numpy(PICTURE.copy()))
        ask(client, torch.from_numpy(PICTURE.astype("f4") / 255))
        ask(client, kept)
        ask(client, kept)
    ask(hearth.client.connect(service.path), PICTURE)
    assert len(set(keys(service))) == 1 and len(keys(service)) == 6


def test_other_pixels_another_order_and_another_number_have_other_keys(client, service):
    changed = PICTURE.copy()
    changed[7, 5, 2] ^= 1
    ask(client, PICTURE)
    ask(client, changed)
    ask(client, PICTURE, OTHER)
    ask(client, OTHER, PICTURE)
    ask(client, PICTURE.reshape(6, 8, 3))
    ask(client, {"video": numpy.stack([PICTURE, OTHER]), "fps": 1.0})
    ask(client)
    assert len(set(keys(service))) == 7


def test_held_and_sent_pictures_are_named_in_the_order_of_the_chat(client, service):
    with client.put(PICTURE) as kept:
        ask(client, kept, OTHER)
        ask(client, OTHER, kept)
    ask(client, PICTURE, OTHER)
    first, swapped, plain = keys(service)
    assert first == plain != swapped


def test_an_answer_from_before_arrives_like_any_other(client, service):
    receipt = messages.Receipt(replayed=True, total_ms=0.1)

    def handler(peer, frame, _request):
        peer.send(messages.Token(text="a red circle", token_ids=b""), frame.request_id)
        peer.send(generated(receipt=receipt), frame.request_id)

    service.on[messages.Generate] = handler
    reply = ask(client, PICTURE)
    assert (reply.text, reply.receipt.replayed) == ("a red circle", True)
    assert list(ask(client, PICTURE, stream=True)) == ["a red circle"]


def test_the_asyncio_client_names_them_alike(client, service):
    async def main():
        async with await hearth.aio.connect(service.path) as other:
            await ask(other, PICTURE)
            await other.free_memory(7)
            return await other.plan("ember")

    ask(client, PICTURE)
    assert asyncio.run(main()).leaving == ["another"]
    assert len(set(keys(service))) == 1


def test_an_offer_tells_what_its_model_takes(client, service, tmp_path):
    memory = messages.MemoryPlan(weights_bytes=5, cache_bytes=6, scratch_bytes=7)
    reply = messages.ModelOffered(model="id", family="fake", memory=memory)
    service.on[messages.OfferModel] = replies(reply)
    (tmp_path / "config.json").write_text("{}")
    assert client.offer_model(tmp_path, "int8").memory == memory


def test_a_load_can_be_planned_and_memory_asked_back(client, service):
    plan = client.plan("ember")
    assert (plan.model, plan.fits, plan.leaving) == ("ember", True, ["another"])
    freed = client.free_memory(3 << 30)
    assert (freed.freed_bytes, freed.models) == (5 << 30, ["another"])
    assert service.peer.messages_of(messages.FreeMemory)[0].nbytes == 3 << 30
