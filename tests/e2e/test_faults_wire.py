"""Frames that are broken, false, slow or never read: rows of the fault table about the wire."""

import contextlib
import os
import random
import struct
import time

import msgpack
import pytest
from hostile import Peer, chat, frame
from process import cpu_seconds, rss_bytes
from service import wait_until

from hearth import messages, wire

PING = messages.Ping.TYPE


# --- pieces ---


@pytest.mark.fault(6)
def test_frames_arrive_one_byte_at_a_time(daemon, ledger):
    with Peer(daemon.socket) as peer:
        for byte in frame(PING, request_id=7):
            peer.send_bytes(bytes([byte]))
        assert isinstance(peer.answer(7), messages.Pong)


@pytest.mark.fault(6)
def test_peers_that_stop_within_a_frame_cost_nothing_and_go_with_their_sockets(daemon, ledger):
    data = frame(messages.OfferModel.TYPE, body_len=1000)
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(daemon.connect())
        for n_bytes in (1, 15, 16, 17):
            stack.enter_context(Peer(daemon.socket)).send_bytes(data[:n_bytes])
        spent = cpu_seconds(daemon.process.pid)
        began = time.monotonic()
        while time.monotonic() - began < 1:
            beside.ping()
            time.sleep(0.05)
        assert cpu_seconds(daemon.process.pid) - spent < 0.7, "it waits, it does not spin"
        assert len(beside.status().clients) == 5


@pytest.mark.fault(6)
def test_half_a_hello_is_given_up_after_two_seconds(daemon, ledger):
    with Peer(daemon.socket, greet=False) as peer:
        began = time.monotonic()
        peer.send_bytes(frame(messages.Hello.TYPE, request_id=0, body_len=100)[:17])
        assert "hello" in peer.farewell().what
        assert 1 < time.monotonic() - began < 20


@pytest.mark.fault(6)
def test_a_frame_over_64_kib_is_whole_however_it_is_cut(daemon, ledger):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    request = messages.Generate(model="none", messages=chat("x" * 200_000))
    with Peer(daemon.socket) as peer:
        for request_id in range(1, 6):
            data = wire.encode(request, request_id)
            assert len(data) > 64 << 10
            while data:
                size = rng.choice([1, 7, 4096, 65_536, 65_537, 100_000])
                peer.send_bytes(data[:size])
                data = data[size:]
            assert peer.answer(request_id).code == "unknown_model"


# --- lies ---


LIES = {
    "a wrong magic": {"magic": 0x32545248},
    "a body of 4 GiB": {"body_len": 0xFFFFFFFF},
    "a body one byte too long": {"body_len": (1 << 20) + 1},
    "flags that nobody knows": {"flags": 1},
    "descriptors that did not come": {"n_fds": 5},
    "more descriptors than fit": {"n_fds": 0xFFFF},
}


@pytest.mark.fault(7)
@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_ends_the_connection_and_only_it(daemon, ledger, lie):
    rss = rss_bytes(daemon.process.pid)
    with Peer(daemon.socket) as peer, Peer(daemon.socket) as beside:
        peer.send_bytes(frame(PING, **LIES[lie]))
        assert peer.farewell().code == "bad_request"
        assert beside.is_served()
    assert rss_bytes(daemon.process.pid) - rss < 1 << 20, "nothing was allocated for it"


@pytest.mark.fault(7)
@pytest.mark.parametrize("greeted", [False, True], ids=["before hello", "after it"])
@pytest.mark.parametrize("announced", [0, 4, 5, 6])
def test_descriptors_where_none_belong_are_closed(daemon, ledger, greeted, announced):
    pipe_out, pipe_in = os.pipe()
    try:
        with Peer(daemon.socket, greet=greeted) as peer:
            peer.send_bytes(frame(PING, n_fds=announced), [pipe_in] * 5)
            assert peer.farewell().code == "bad_request"
        os.close(pipe_in)
        os.set_blocking(pipe_out, False)

        def all_writers_are_gone():
            try:
                return os.read(pipe_out, 1) == b""
            except BlockingIOError:
                return False

        wait_until(all_writers_are_gone, what="the service's copies being closed")
    finally:
        os.close(pipe_out)


@pytest.mark.fault(7)
def test_descriptors_in_the_middle_of_a_body_are_closed_too(daemon, ledger):
    with open("/dev/null", "rb") as file, Peer(daemon.socket) as peer:
        data = frame(messages.OfferModel.TYPE, b"\x80" * 2000)
        peer.send_bytes(data[:500])
        peer.send_bytes(data[500:], [file.fileno()] * 100)
        assert peer.answer(1).code == "bad_request"
        assert peer.is_served()


# --- msgpack ---


def nested(depth, kind=b"\x91"):
    return b"\x81\xa1k" + kind * depth + b"\xc0"


BOMBS = {
    "an array of 4 G elements": b"\xdd\xff\xff\xff\xff",
    "a map of 4 G entries": b"\xdf\xff\xff\xff\xff",
    "a string of 4 GiB": b"\x81\xa1k\xdb\xff\xff\xff\xff",
    "binary of 4 GiB": b"\x81\xa1k\xc6\xff\xff\xff\xff",
    "an extension": b"\x81\xa1k\xc9\xff\xff\xff\xff\x01",
    "arrays 100,000 deep": nested(100_000),
    "maps 100,000 deep": nested(100_000, b"\x81\xa1k"),
    "many arrays of 65,535": b"\x81\xa1k" + b"\xdc\xff\xff" * 100_000,
    "invalid UTF-8": b"\x81\xa5model\xa2\xc3\x28",
    "NaN": b"\x82\xa5model\xa1m\xabtemperature\xcb" + struct.pack(">d", float("nan")),
    "infinity": b"\x82\xa5model\xa1m\xabtemperature\xcb" + struct.pack(">d", float("inf")),
    "a key twice": b"\x82\xa5model\xa1a\xa5model\xa1b",
    "a key that is no string": b"\x81\x01\x02",
    "something after the end": b"\x80\x80",
    "a map that ends early": b"\x82\xa5model",
    "nothing": b"",
    "a number": b"\x01",
    "what msgpack never uses": b"\xc1",
}


@pytest.mark.fault(8)
def test_msgpack_bombs_are_errors_of_their_request_and_take_no_memory(daemon, ledger):
    with Peer(daemon.socket) as peer:
        peer.is_served()
        rss = None
        for turn in range(20):
            for number, (name, bomb) in enumerate(BOMBS.items(), 1):
                peer.send_bytes(frame(messages.Generate.TYPE, bomb, 100 * turn + number))
                error = peer.answer(100 * turn + number)
                assert error.code == "bad_request", name
            rss = rss or rss_bytes(daemon.process.pid)  # the largest body has been here once
        assert rss_bytes(daemon.process.pid) - rss < 1 << 20
        assert peer.is_served()


@pytest.mark.fault(8)
def test_a_bomb_instead_of_hello_ends_the_connection(daemon, ledger):
    for bomb in BOMBS.values():
        with Peer(daemon.socket, greet=False) as peer:
            peer.send_bytes(frame(messages.Hello.TYPE, bomb[:4096], 0))
            assert peer.farewell().code == "bad_request"


@pytest.mark.fault(8)
def test_a_mistyped_parameter_is_named_and_a_missing_one_too(daemon, ledger):
    body = msgpack.packb({"model": "m", "messages": [], "temprature": 1.0})
    with Peer(daemon.socket) as peer:
        peer.send_bytes(frame(messages.Generate.TYPE, body, 1))
        error = peer.answer(1).what
        assert "temprature" in error and "temperature" in error
        peer.send_bytes(frame(messages.Generate.TYPE, msgpack.packb({"messages": []}), 2))
        assert "model" in peer.answer(2).what


@pytest.mark.fault(8)
def test_unknown_messages_are_answered_and_the_third_in_a_row_ends_the_connection(daemon, ledger):
    with Peer(daemon.socket) as peer:
        for request_id in (1, 2):
            peer.send_bytes(frame(200, request_id=request_id))
            assert peer.answer(request_id).code == "unknown_message"
        assert peer.is_served(), "what is known in between forgives"
        for request_id in (11, 12, 13):
            peer.send_bytes(frame(messages.StopWorker.TYPE, request_id=request_id))
        assert peer.farewell().code == "bad_request"
