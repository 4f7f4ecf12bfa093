"""Pictures and words through the whole path; the fake family says what it was shown."""

import asyncio
import random
import threading
import time
import zlib

import numpy
import pytest
from service import is_given_back, settled, wait_until

import hearth.aio
import hearth.client
from hearth import errors

LONG = {"temperature": 0, "max_tokens": 4000}


def ask(*content):
    return [{"role": "user", "content": list(content)}]


def seen(number, picture):
    """How the fake model names a picture."""
    shape = ", ".join(map(str, picture.shape))
    return f"image {number}: u8 [{shape}] crc32 {zlib.crc32(picture.tobytes()):08x};"


def test_words_come_back_with_ids_and_a_receipt(client, model):
    reply = client.generate(client.offer_model(model), ask("hello"), temperature=0)
    assert reply.text == "hello" and reply.stop_reason == "end_token"
    assert bytes(reply.token_ids[:-1]) == b"hello"
    assert bytes(i for i in reply.prompt_token_ids if i < 256) == b"hello"
    receipt = reply.receipt
    assert receipt.generated_tokens == len(reply.token_ids) == 6
    assert receipt.prompt_tokens == len(reply.prompt_token_ids)
    assert receipt.total_ms >= receipt.first_token_ms > 0
    assert receipt.model_loads == 1 and receipt.model


def test_the_model_sees_exactly_the_pictures_that_were_sent(client, model):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = numpy.random.default_rng(seed)
    picture = rng.integers(0, 256, (301, 211, 3), numpy.uint8)
    batch = rng.random((2, 64, 48, 3), numpy.float32)
    gray = rng.integers(0, 256, (40, 50), numpy.uint8)
    halves = numpy.clip(numpy.rint(batch * numpy.float32(255)), 0, 255).astype("u1")
    shown = [picture[::2, ::-1], *halves, gray[:, :, None]]
    content = ["Look:", picture[::2, ::-1], batch, "and", gray]
    reply = client.generate(client.offer_model(model), ask(*content), temperature=0)
    wanted = [seen(number, one) for number, one in enumerate(shown, 1)]
    assert reply.text == " ".join([*wanted, "Look: and"])
    assert reply.receipt.image_tokens > 0


def test_tokens_are_counted_without_loading_the_model(client, model):
    offered = client.offer_model(model)
    chat = ask("How many?", numpy.zeros((64, 96, 3), numpy.uint8))
    counted = client.count_tokens(offered, chat)
    assert counted.image_tokens == 6 and counted.pictures[0].width == 96
    assert client.status().models[0].state == "cold"
    reply = client.generate(offered, chat, temperature=0)
    assert counted.prompt_tokens == len(reply.prompt_token_ids)
    with pytest.raises(errors.BadPicture, match="shape"):
        client.count_tokens(offered, ask(numpy.zeros((2, 70_000, 3), numpy.uint8)))


def test_memory_is_used_again_without_mixing_pictures(client, model):
    rng = numpy.random.default_rng(7)
    offered = client.offer_model(model)
    client.generate(offered, ask(rng.integers(0, 256, (64, 64, 3), numpy.uint8)))
    arenas = client.status().arenas
    for _ in range(50):
        picture = rng.integers(0, 256, (64, 64, 3), numpy.uint8)
        assert client.generate(offered, ask(picture), temperature=0).text == seen(1, picture)
    assert client.status().arenas == arenas == 1


def test_a_stream_s_pieces_are_the_reply(client, model):
    stream = client.generate(client.offer_model(model), ask("!count 200"), True, **LONG)
    pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.reply.text == " ".join(map(str, range(1, 201)))


def test_letters_of_many_bytes_come_whole(client, model):
    text = "Grüße 🔥 東京 é"
    stream = client.generate(client.offer_model(model), ask(text), True, temperature=0)
    assert "".join(stream) == text


def test_answers_end_where_they_were_told_to(client, model):
    offered = client.offer_model(model)
    cut = client.generate(offered, ask("!count 100"), max_tokens=5, temperature=0)
    assert (cut.text, cut.stop_reason) == ("1 2 3", "max_tokens")
    stopped = client.generate(offered, ask("!count 100"), stop=" 4", temperature=0)
    assert (stopped.text, stopped.stop_reason) == ("1 2 3", "stop_string")


def test_the_same_seed_gives_the_same_words_in_any_company(client, model):
    offered = client.offer_model(model)
    chat = ask("!random 60")
    alone = client.generate(offered, chat, seed=5, temperature=1).text
    streams = [client.generate(offered, chat, True, seed=s, temperature=1) for s in (1, 5, 9)]
    first, same, last = (stream.reply.text for stream in streams)
    assert same == alone and len({first, same, last}) == 3


def test_progress_tells_of_loading_and_decoding(client, fake_model):
    offered = client.offer_model(fake_model(script="!wait load 600"))
    stages = []
    client.generate(
        offered, ask("!wait 10 !count 20"), on_progress=lambda p: stages.append(p.stage)
    )
    assert stages[0] == "loading"


def test_two_streams_on_one_connection_advance_together(client, model):
    offered = client.offer_model(model)
    client.load(offered)
    streams = [client.generate(offered, ask("!wait 5 !count 60"), True) for _ in range(2)]
    began = time.monotonic()
    for first, second in zip(*streams, strict=False):
        assert first and second
    assert time.monotonic() - began < 20
    assert {stream.reply.text for stream in streams} == {" ".join(map(str, range(1, 61)))}


def test_what_goes_wrong_is_said_and_the_next_request_works(client, model):
    offered = client.offer_model(model)
    with pytest.raises(errors.NotFinite):
        client.generate(offered, ask("!nan 2 !count 9"))
    with pytest.raises(errors.HearthError, match="[a-z]"):
        client.generate(offered, ask("!fail prefill"))
    with pytest.raises(errors.BadRequest, match="stop"):
        client.generate(offered, ask("hello"), stop=[""])
    with pytest.raises(errors.TooLong):
        client.generate(offered, ask("x" * 200_000), max_tokens=32_768)
    with pytest.raises(errors.UnknownModel, match="no-such-model"):
        client.generate("no-such-model", ask("hello"))
    assert client.generate(offered, ask("hello"), temperature=0).text == "hello"


def test_two_clients_of_one_model_load_it_once(daemon, fake_model):
    folder = fake_model(script="!wait load 300")
    replies = []

    def use():
        with daemon.connect() as client:
            replies.append(client.generate(client.offer_model(folder), ask("hello")))

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.receipt.model_loads for reply in replies] == [1, 1]
    assert len({reply.receipt.model for reply in replies}) == 1


def test_a_model_s_name_depends_on_its_files_and_dtype(client, fake_model):
    first = fake_model()
    assert client.offer_model(first).id == client.offer_model(first).id
    assert client.offer_model(fake_model()).id != client.offer_model(first).id


def test_a_model_leaves_when_it_is_given_up(client, model):
    offered = client.offer_model(model)
    loaded = client.load(offered)
    assert loaded.resident_bytes > 0
    states = {entry.model: entry.state for entry in client.models()}
    assert states[offered.id] == "hot"
    assert client.unload(offered) is False
    assert offered.id not in {entry.model for entry in client.models()}
    assert client.generate(offered, ask("back"), temperature=0).text == "back"


def test_a_folder_that_is_no_model_is_refused_by_name(client, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    with pytest.raises(errors.HearthError, match="unheard_of"):
        client.offer_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.HearthError, match="config.json"):
        client.offer_model(tmp_path)
    client.ping()


@pytest.mark.parametrize(
    "words",
    ["!wait 10 !count 5000", "!wait prefill 50" + 500 * " x", "!wait prepare 60000"],
    ids=["decoding", "between chunks of the prompt", "in preparation"],
)
def test_a_cancelled_request_frees_its_slot(client, fake_model, words):
    offered = client.offer_model(fake_model(prefill_chunk_tokens=8))
    client.load(offered)
    stream = client.generate(offered, ask(words), True)
    wait_until(lambda: client.status().running == 1)
    began = time.monotonic()
    stream.cancel()
    for _ in stream:
        pass
    assert time.monotonic() - began < 2
    assert settled(client)["running"] == 0
    with pytest.raises(errors.Cancelled):
        _ = stream.reply


def test_a_request_can_be_cancelled_while_its_model_loads(client, fake_model):
    offered = client.offer_model(fake_model(script="!wait load 60000"))
    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        client.generate(offered, ask("hello"), interrupted=lambda: time.monotonic() - began > 0.3)
    wait_until(lambda: all(m.state == "cold" for m in client.models() if m.model == offered.id))


def test_more_requests_than_slots_wait_their_turn(client, model):
    offered = client.offer_model(model)
    slots = client.status().slots
    streams = [
        client.generate(offered, ask(f"!wait 2 {number}"), True) for number in range(4 * slots)
    ]
    wait_until(lambda: client.status().queued > 0)
    assert client.status().running <= slots
    assert [stream.reply.text for stream in streams] == [str(n) for n in range(4 * slots)]


def test_tasks_of_one_loop_share_a_connection(daemon, model):
    picture = numpy.random.default_rng(3).integers(0, 256, (64, 64, 3), numpy.uint8)

    async def main():
        async with await hearth.aio.connect(daemon.socket, 5) as client:
            offered = await client.offer_model(model)
            asked = [
                client.generate(offered, ask(picture, str(n)), temperature=0) for n in range(9)
            ]
            return [reply.text for reply in await asyncio.gather(*asked)]

    assert asyncio.run(main()) == [f"{seen(1, picture)} {n}" for n in range(9)]


def test_nothing_is_left_when_clients_go(daemon, model):
    def use():
        with daemon.connect() as client:
            picture = numpy.zeros((64, 64, 3), numpy.uint8)
            client.generate(client.offer_model(model), ask(picture))

    with daemon.connect() as watcher:
        use()  # from now on the model stays, with its files, until its room is needed
        wait_until(lambda: watcher.status().arenas == 0)
        before = settled(watcher)
        for _ in range(10):
            use()
        wait_until(lambda: is_given_back(watcher, before), what="everything given back")
        assert len(watcher.status().clients) == 1


def test_several_answers_come_in_one_reply_and_the_first_is_streamed(client, model):
    offered = client.offer_model(model)
    options = dict(temperature=1.0, top_k=0, top_p=1.0, seed=5)
    single = client.generate(offered, ask("!random 12"), **options)
    stream = client.generate(offered, ask("!random 12"), answers=5, stream=True, **options)
    assert "".join(stream) == stream.reply.text == single.text
    assert len(set(stream.reply.texts)) == 5
    assert stream.reply.receipt.generated_tokens == 5 * 13


def test_beams_come_best_first_in_one_piece(client, model):
    offered = client.offer_model(model)
    stream = client.generate(offered, ask("!random 12"), beams=4, answers=3, stream=True)
    pieces = list(stream)
    assert pieces == [stream.reply.text]
    scores = [stream.reply.score, *(other.score for other in stream.reply.others)]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_answers_that_would_be_equal_are_refused(client, model):
    with pytest.raises(errors.BadRequest, match="temperature 0"):
        client.generate(client.offer_model(model), ask("hello"), answers=2, temperature=0)
