"""What is sent a second time after a loss, and what is not."""

import asyncio
import random
import threading
import time

import numpy
import pytest

import hearth.aio
import hearth.client
import server as fake
from hearth import errors, messages
from server import encodes, fails, generated, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]
STATES = numpy.ones((2, 3), "f4")
LOST = ("worker_lost", "shutting_down")


def first(handler, then=fake.answer):
    """The first request of all connections goes to `handler`, the others to `then`."""
    calls = []

    def choose(peer, frame, request):
        calls.append(request)
        (handler if len(calls) == 1 else then)(peer, frame, request)

    return choose


def closes(peer, _frame, _request):
    peer.close()


def received(service, kind=messages.Generate):
    return [request for peer in service.peers for request in peer.messages_of(kind)]


def keys(service, kind=messages.Generate):
    return [request.key for request in received(service, kind)]


def test_every_request_has_a_random_key_of_128_bits(client, service):
    service.on[messages.Encode] = encodes(STATES)
    client.generate("ember", TEXT)
    client.generate("ember", TEXT)
    client.encode("ember", TEXT)
    found = [*keys(service), *keys(service, messages.Encode)]
    assert len(set(found)) == 3
    assert all(len(bytes.fromhex(key)) == 16 for key in found)


@pytest.mark.parametrize("code", LOST)
def test_a_request_whose_engine_was_lost_is_sent_again_with_the_same_key(client, service, code):
    service.on[messages.Generate] = first(fails(code, retryable=True))
    assert client.generate("ember", CHAT).text == "a red circle"
    one, other = received(service)
    assert one.key == other.key
    assert service.peer.arena_bytes(other.messages[0].content[1].tensor) == PICTURE.tobytes()
    assert len(service.peers) == 1


def test_a_request_whose_connection_was_lost_is_sent_again_on_another(client, service):
    service.on[messages.Generate] = first(closes)
    assert client.generate("ember", CHAT).text == "a red circle"
    one, other = keys(service)
    assert one == other and len(service.peers) == 2
    tensor = received(service)[1].messages[0].content[1].tensor
    assert service.peer.arena_bytes(tensor) == PICTURE.tobytes()


def test_a_loss_before_the_request_was_sent_is_a_loss_like_any_other(client, service):
    """Here it waits for shared memory."""

    def close_once(peer, _frame, _ask):
        service.on.clear()
        peer.close()

    service.on[messages.ArenaAsk] = close_once
    assert client.generate("ember", CHAT).text == "a red circle"
    assert len(keys(service)) == 1 and len(service.peers) == 2


def test_encode_is_sent_again_as_well(client, service):
    service.on[messages.Encode] = first(closes, encodes(STATES))
    assert client.encode("ember", CHAT).hidden.tolist() == STATES.tolist()
    one, other = keys(service, messages.Encode)
    assert one == other


def test_it_is_sent_again_once_and_not_twice(client, service):
    service.on[messages.Generate] = fails("worker_lost", retryable=True)
    service.on[messages.Encode] = closes
    with pytest.raises(errors.WorkerLost) as raised:
        client.generate("ember", TEXT)
    assert "cut off" not in str(raised.value), "there was nothing to cut"
    with pytest.raises(errors.NotReachable):
        client.encode("ember", TEXT)
    assert len(keys(service)) == len(keys(service, messages.Encode)) == 2


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("bad_request", False), ("busy", True), ("worker_lost", False), ("internal", True)],
)
def test_other_errors_are_not_retried(client, service, code, retryable):
    service.on[messages.Generate] = fails(code, retryable=retryable)
    service.on[messages.Encode] = fails(code, retryable=retryable)
    with pytest.raises(errors.HearthError) as raised:
        client.generate("ember", TEXT)
    assert raised.value.code == code
    with pytest.raises(errors.HearthError):
        client.encode("ember", TEXT)
    assert len(keys(service)) == len(keys(service, messages.Encode)) == 1


def test_nothing_is_retried_when_the_caller_says_so(client, service):
    service.on[messages.Generate] = fails("worker_lost", retryable=True)
    service.on[messages.Encode] = fails("worker_lost", retryable=True)
    with pytest.raises(errors.WorkerLost):
        client.generate("ember", TEXT, retry=False)
    with pytest.raises(errors.WorkerLost):
        list(client.generate("ember", TEXT, True, retry=False))
    with pytest.raises(errors.WorkerLost):
        client.encode("ember", TEXT, retry=False)
    assert len(keys(service)) == 2 and len(keys(service, messages.Encode)) == 1


def half_then(end):
    def handler(peer, frame, request):
        peer.send(token("half "), frame.request_id)
        end(peer, frame, request)

    return handler


@pytest.mark.parametrize("end", [closes, fails("worker_lost", "It went.", retryable=True)])
def test_after_the_first_piece_the_error_says_that_the_answer_was_cut_off(client, service, end):
    service.on[messages.Generate] = half_then(lambda *_: None)
    stream = client.generate("ember", TEXT, stream=True)
    assert next(stream) == "half "
    end(service.peer, fake.wire.Frame(0, service.peer.ids_of(messages.Generate)[0], b"", []), None)
    with pytest.raises(errors.HearthError, match="^The answer was cut off") as raised:
        next(stream)
    assert raised.value.retryable and stream.text == "half "
    assert len(keys(service)) == 1


def test_pieces_that_nobody_saw_are_taken_back(client, service):
    service.on[messages.Generate] = first(half_then(closes))
    assert client.generate("ember", TEXT).text == "a red circle"
    service.on[messages.Generate] = first(half_then(closes))
    stream = client.generate("ember", TEXT, stream=True)
    assert stream.reply.text == stream.text == "a red circle"
    assert len(set(keys(service))) == 2 and len(keys(service)) == 4


def test_a_stream_that_was_lost_before_its_first_piece_begins_again(client, service):
    service.on[messages.Generate] = first(closes)
    stream = client.generate("ember", CHAT, stream=True)
    assert list(stream) == ["a red ", "circle"] and stream.reply.text == "a red circle"
    one, other = keys(service)
    assert one == other


def test_an_answer_that_was_made_already_comes_as_one_piece(client, service):
    replayed = messages.Receipt(replayed=True)
    again = fake.replies(generated("a red circle", receipt=replayed))
    service.on[messages.Generate] = first(closes, again)
    stream = client.generate("ember", TEXT, stream=True)
    assert list(stream) == ["a red circle"] and stream.reply.receipt.replayed
    assert list(stream) == []


def test_the_service_says_how_long_to_wait(client, service, monkeypatch):
    monkeypatch.setattr("hearth.retry.RETRY_AFTER_MAX_S", 0.3)
    for asked_ms, waited_s in ((150, 0.15), (60_000, 0.3)):
        lost = fails("worker_lost", retryable=True, retry_after_ms=asked_ms)
        service.on[messages.Generate] = first(lost)
        began = time.monotonic()
        client.generate("ember", TEXT)
        assert waited_s <= time.monotonic() - began < waited_s + 3


def test_the_wait_can_be_interrupted(client, service):
    service.on[messages.Generate] = fails("worker_lost", retryable=True, retry_after_ms=1900)
    asked = []

    def interrupted():
        asked.append(keys(service))
        return len(asked) > 20

    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        client.generate("ember", TEXT, interrupted=interrupted)
    assert time.monotonic() - began < 1.8
    assert len(keys(service)) == 1


def restart(service, after_s):
    """Kills the service now and starts another one after a while, as a supervisor does."""

    def act():
        service.stop()
        time.sleep(after_s)
        service.boot_id = "boot-2"
        service.start()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_call_waits_for_a_service_that_is_restarted(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = client.offer_model(tmp_path)
    threads = []
    service.on[messages.Generate] = first(lambda *_: threads.append(restart(service, 0.7)))
    reply = client.generate(model, CHAT)
    threads[0].join(20)
    assert reply.text == "a red circle" and client.welcome.boot_id == "boot-2"
    kinds = [type(message) for message in service.peer.received]
    wanted = [messages.Hello, messages.OfferModel, messages.ArenaAsk, messages.Generate]
    assert kinds == wanted, "all that was known of the other boot is void"


def test_a_service_that_does_not_return_is_given_up(client, service, monkeypatch):
    monkeypatch.setattr("hearth.retry.RECONNECT_S", 0.4)
    service.on[messages.Generate] = lambda *_: threading.Thread(target=service.stop).start()
    began = time.monotonic()
    with pytest.raises(errors.NotReachable, match="no such file"):
        client.generate("ember", TEXT)
    assert time.monotonic() - began < 4


def test_a_service_that_was_never_there_is_not_waited_for(tmp_path):
    began = time.monotonic()
    with pytest.raises(errors.NotReachable, match="no such file"):
        hearth.client.Client(tmp_path / "hearth.sock").generate("ember", TEXT)
    assert time.monotonic() - began < 3


def test_attempts_to_reconnect_become_rarer(client, service, monkeypatch):
    monkeypatch.setattr("hearth.retry.RECONNECT_S", 3.0)
    attempts = []

    def dial(paths, may_retry):
        attempts.append(time.monotonic())
        raise errors.NotReachable("no")

    service.on[messages.Generate] = closes
    monkeypatch.setattr("hearth.caller.dial", dial)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    random.seed(seed)
    with pytest.raises(errors.NotReachable):
        client.generate("ember", TEXT)
    assert 5 <= len(attempts) <= 9
    assert attempts[1] - attempts[0] < attempts[-1] - attempts[-2]


def test_a_service_that_is_leaving_is_not_asked_again(client, service):
    """It refuses new requests and closes when the open ones have ended."""

    def leaves(peer, frame, request):
        peer.send(messages.Goaway(drain_ms=1000))
        fails("shutting_down", retryable=True)(peer, frame, request)

    service.on[messages.Generate] = first(leaves)
    assert client.generate("ember", TEXT).text == "a red circle"
    assert len(service.peers) == 2


def test_a_request_waits_until_a_service_that_is_leaving_has_left(service):
    """The connection stays while another request is open on it; asking there again is useless."""

    def leaves(peer, frame, request):
        if request.messages[0].content[0].text == "open":
            return
        peer.send(messages.Goaway(drain_ms=5000))
        fails("shutting_down", retryable=True)(peer, frame, request)

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            service.on[messages.Generate] = leaves
            chat = [{"role": "user", "content": "open"}]
            waiting = asyncio.ensure_future(client.generate("ember", chat))
            while not keys(service):
                await asyncio.sleep(0.002)
            refused = asyncio.ensure_future(client.generate("ember", TEXT))
            while len(keys(service)) != 2:
                await asyncio.sleep(0.002)
            for _ in range(20):  # time enough for a second attempt, if it were made
                await asyncio.sleep(0.01)
            service.on.clear()
            leaving = service.peers[0]
            leaving.send(generated("the end"), leaving.ids_of(messages.Generate)[0])
            assert (await waiting).text == "the end"
            assert (await refused).text == "a red circle"

    asyncio.run(main())
    assert [len(peer.messages_of(messages.Generate)) for peer in service.peers] == [2, 1]


def test_an_update_during_the_restart_ends_the_wait_at_once(client, service):
    def too_new(peer, _frame, _hello):
        peer.send(messages.Error(code="version", what="hearthd 9 speaks 7 to 9."))

    def leave(peer, _frame, _request):
        service.on[messages.Hello] = too_new
        peer.close()

    service.on[messages.Generate] = leave
    with pytest.raises(errors.Version, match="speaks 7 to 9"):
        client.generate("ember", TEXT)
    assert len(service.peers) == 2


def test_a_client_that_was_closed_meanwhile_does_not_return(service):
    client = hearth.client.connect(service.path)
    service.on[messages.Generate] = silent
    stream = client.generate("ember", TEXT, stream=True)
    wait_until(lambda: keys(service))
    client.close()
    began = time.monotonic()
    with pytest.raises(errors.NotReachable, match="closed") as raised:
        next(stream)
    assert time.monotonic() - began < 3 and not raised.value.retryable
    assert len(service.peers) == 1


def test_tasks_that_lost_one_connection_share_the_next(service):
    def handler(peer, frame, request):
        if len(service.peers) > 1:
            fake.answer(peer, frame, request)
        elif len(peer.ids_of(messages.Generate)) == 6:
            peer.close()

    service.on[messages.Generate] = handler
    service.on[messages.Encode] = first(fails("worker_lost", retryable=True), encodes(STATES))

    async def main():
        async with await hearth.aio.connect(service.path) as client:
            replies = await asyncio.gather(*(client.generate("ember", CHAT) for _ in range(6)))
            pieces = [piece async for piece in client.stream("ember", TEXT)]
            encoded = await client.encode("ember", TEXT)
        assert encoded.hidden.tolist() == STATES.tolist() and len(pieces) == 2
        return replies

    assert [reply.text for reply in asyncio.run(main())] == ["a red circle"] * 6
    assert len(service.peers) == 2
    before, after = (peer.messages_of(messages.Generate) for peer in service.peers)
    assert {r.key for r in before} == {r.key for r in after[:6]} and len(after) == 7
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


# --- a service that takes no requests for a while ---


def refuse_until(service, kinds, refusals, retry_after_ms=1):
    """Requests of these kinds are refused so many times, on a connection that stays."""
    left = [refusals]

    def choose(then):
        def handler(peer, frame, request):
            left[0] -= 1
            refused = fails("shutting_down", retryable=True, retry_after_ms=retry_after_ms)
            (refused if left[0] >= 0 else then)(peer, frame, request)

        return handler

    for kind, then in kinds.items():
        service.on[kind] = choose(then)


def test_a_call_knocks_until_requests_are_taken_again(client, service):
    refuse_until(service, {messages.Generate: fake.answer}, 4)
    assert client.generate("ember", TEXT).text == "a red circle"
    assert len(keys(service)) == 5 and len(set(keys(service))) == 1
    assert len(service.peers) == 1, "the connection stays"


def test_what_a_call_needs_first_may_be_refused_as_well(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = hearth.client.Model({"config.json": tmp_path / "config.json"}, tmp_path.name, "auto")
    refuse_until(service, {messages.OfferModel: fake.offered, messages.ArenaAsk: fake.grant}, 5)
    assert client.generate(model, CHAT).text == "a red circle"
    assert len(keys(service)) == 1 and len(service.peers) == 1


def test_a_stream_knocks_as_well_in_asyncio_too(service):
    async def run():
        async with await hearth.aio.connect(service.path) as client:
            refuse_until(service, {messages.Generate: fake.answer}, 3)
            return [piece async for piece in client.stream("ember", TEXT)]

    assert asyncio.run(run()) == ["a red ", "circle"]
    assert len(keys(service)) == 4


def test_nobody_knocks_for_ever(client, service, monkeypatch):
    monkeypatch.setattr("hearth.retry.REFUSED_S", 0.3)
    refuse_until(service, {messages.Generate: fake.answer}, 1_000_000)
    began = time.monotonic()
    with pytest.raises(errors.ShuttingDown):
        client.generate("ember", TEXT)
    assert time.monotonic() - began >= 0.3 and len(keys(service)) >= 2


HARMLESS = {
    messages.OfferModel: lambda client, model: client.offer_model(model),
    messages.UnloadModel: lambda client, model: client.unload("ember"),
    messages.PlanLoad: lambda client, model: client.plan("ember"),
    messages.CountTokens: lambda client, model: client.count_tokens("ember", TEXT),
}


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", HARMLESS, ids=lambda kind: kind.NAME)
@pytest.mark.parametrize("loss", [fails("worker_lost", retryable=True), closes])
def test_what_does_no_harm_twice_is_asked_again_after_a_loss(
    client, service, model_folder, kind, loss
):
    counted = fake.replies(messages.TokensCounted(prompt_tokens=3, context_tokens=9))
    service.on[kind] = first(loss, fake.DEFAULTS.get(kind, counted))
    HARMLESS[kind](client, model_folder)
    assert len(received(service, kind)) == 2


@pytest.mark.parametrize("kind", HARMLESS, ids=lambda kind: kind.NAME)
def test_what_does_no_harm_twice_is_asked_again_once(client, service, model_folder, kind):
    service.on[kind] = fails("worker_lost", retryable=True)
    with pytest.raises(errors.WorkerLost):
        HARMLESS[kind](client, model_folder)
    assert len(received(service, kind)) == 2


def test_a_service_that_is_gone_is_an_answer_at_once(client, service, model_folder):
    client.offer_model(model_folder)
    service.stop()
    began = time.monotonic()
    with pytest.raises(errors.NotReachable):
        client.offer_model(model_folder)
    assert time.monotonic() - began < 5
