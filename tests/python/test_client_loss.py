"""Services that die, hang, leave or talk nonsense."""

import threading
import time

import numpy
import pytest

from hearth import errors, messages, wire
from server import generated, silent

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]


def test_a_service_that_dies_ends_open_requests_at_once(client, service):
    service.on[messages.Generate] = lambda *_: threading.Thread(target=service.stop).start()
    began = time.monotonic()
    with pytest.raises(errors.NotReachable, match="closed the connection") as raised:
        client.generate("ember", CHAT, retry=False)
    assert time.monotonic() - began < 1
    assert raised.value.retryable
    with pytest.raises(errors.NotReachable, match="no such file"):
        client.ping()


def test_a_connection_lost_while_idle_is_made_anew(client, service):
    client.generate("ember", CHAT)
    service.stop()
    service.boot_id = "boot-2"
    service.start()
    assert client.generate("ember", CHAT).text == "a red circle"
    assert client.welcome.boot_id == "boot-2"
    assert len(service.peer.messages_of(messages.ArenaAsk)) == 1


def test_a_new_connection_offers_its_models_again(client, service, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    model = client.offer_model(tmp_path / "model")
    service.stop()
    service.start()
    client.generate(model, TEXT)
    client.generate(model, TEXT)
    assert len(service.peer.messages_of(messages.OfferModel)) == 1
    assert [r.model for r in service.peer.messages_of(messages.Generate)] == [model.id] * 2


@pytest.mark.parametrize("lost_at", [1, 2, 3])
def test_a_model_is_known_on_the_very_connection_that_asks(client, service, tmp_path, lost_at):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    model = client.offer_model(tmp_path / "model")
    ready, looks = client._ready, 0

    def losing():
        nonlocal looks
        looks += 1
        if looks == lost_at:
            client._connection.lose(errors.NotReachable("The service restarts."))
        return (yield from ready())

    client._ready = losing
    client.generate(model, TEXT)
    for peer in service.peers:
        asked = [type(message) for message in peer.received]
        if messages.Generate in asked:
            assert messages.OfferModel in asked[: asked.index(messages.Generate)]


def test_a_service_that_is_leaving_is_left_when_idle(client, service):
    service.peer.send(messages.Goaway(drain_ms=1000))
    client.ping()
    client.ping()
    assert len(service.peers) == 2


def test_a_service_that_hangs_is_noticed(client, service, monkeypatch):
    monkeypatch.setattr("hearth.connection.PING_AFTER_S", 0.1)
    monkeypatch.setattr("hearth.connection.SILENT_AFTER_S", 0.3)
    service.on[messages.Generate] = silent
    service.on[messages.Ping] = silent
    with pytest.raises(errors.NotReachable, match="not answered for 0.3 s"):
        client.generate("ember", TEXT)
    assert len(service.peer.messages_of(messages.Ping)) == 1


def test_a_service_that_takes_its_time_is_waited_for(client, service, monkeypatch):
    monkeypatch.setattr("hearth.connection.PING_AFTER_S", 0.05)
    monkeypatch.setattr("hearth.connection.SILENT_AFTER_S", 1.0)

    def handler(peer, frame, _request):
        timer = threading.Timer(2.0, lambda: peer.send(generated("late"), frame.request_id))
        timer.start()

    service.on[messages.Generate] = handler
    assert client.generate("ember", TEXT).text == "late"
    assert service.peer.messages_of(messages.Ping)


def test_a_ping_from_the_service_is_answered(client, service):
    service.on[messages.Generate] = lambda peer, *_: peer.send(messages.Ping(), 77)
    service.on[messages.Pong] = lambda peer, *_: peer.send(generated("alive"), 1)
    assert client.generate("ember", TEXT).text == "alive"


def test_half_a_frame_and_then_the_end_is_a_lost_connection(client, service):
    def handler(peer, frame, _request):
        peer.send_bytes(wire.encode(generated(), frame.request_id)[:40])
        peer.close()

    service.on[messages.Generate] = handler
    with pytest.raises(errors.NotReachable):
        client.generate("ember", TEXT)


@pytest.mark.parametrize(
    "data",
    [
        b"HRT1" + b"\xff" * 12,
        wire.HEADER.pack(wire.MAGIC, 5, 1, messages.Generated.TYPE, 0, 0) + b"\xdd\xff\0\0\0",
    ],
)
def test_what_is_no_frame_ends_the_connection(client, service, data):
    service.on[messages.Generate] = lambda peer, *_: peer.send_bytes(data)
    with pytest.raises(errors.Internal, match="unintelligible"):
        client.generate("ember", TEXT)
    client.ping()
    assert len(service.peers) == 2


def test_an_error_of_the_connection_ends_all_its_requests(client, service):
    service.on[messages.Generate] = lambda peer, *_: peer.send(
        messages.Error(code="bad_request", what="You talk nonsense.")
    )
    with pytest.raises(errors.BadRequest, match="nonsense"):
        client.generate("ember", TEXT)
    client.ping()


def test_a_closed_client_stays_closed(client):
    client.close()
    client.close()
    with pytest.raises(errors.NotReachable, match="closed"):
        client.ping()
