"""Frames and request states, without a socket."""

import array
import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import msgpack
import pytest

from hearth import errors, messages, wire

CONTRACT = Path(__file__).resolve().parents[2] / "shm/contract/messages.toml"


def feed_all(reader, data, piece_bytes):
    """Feeds `data` in pieces of at most `piece_bytes`, never more than wanted."""
    frames = []
    while data:
        count = min(piece_bytes, reader.wanted)
        frame = reader.feed(data[:count], [])
        data = data[count:]
        if frame is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize("piece_bytes", [1, 3, 15, 16, 17, 4096])
def test_frames_are_found_however_the_bytes_arrive(piece_bytes):
    sent = [
        messages.Ping(),
        messages.LoadModel(model="ember"),
        messages.Token(text="ö", token_ids=b""),
    ]
    data = b"".join(wire.encode(message, 7 + i) for i, message in enumerate(sent))
    frames = feed_all(wire.FrameReader(), data, piece_bytes)
    assert [wire.decode(frame) for frame in frames] == sent
    assert [frame.request_id for frame in frames] == [7, 8, 9]


def send_split(sender, data, fd):
    """Descriptors travel with the header; the rest may come later."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
    sender.sendmsg([data[: wire.HEADER.size]], [rights])
    sender.send(data[wire.HEADER.size :])


@pytest.mark.parametrize("at_once", [1, 16, 23, 4096])
def test_descriptors_reach_their_frame_however_much_is_read_at_once(at_once):
    fds = [os.memfd_create(str(index)) for index in range(2)]
    sender, receiver = socket.socketpair()
    with sender, receiver:
        plain = wire.encode(messages.Token(text="between", token_ids=b""), 1)
        for index, fd in enumerate(fds):
            sender.send(plain)
            granted = messages.ArenaGrant(arena=index, nbytes=1)
            send_split(sender, wire.encode(granted, 2, n_fds=1), fd)
        sender.send(plain)
        sender.shutdown(socket.SHUT_WR)
        reader, seen = wire.FrameReader(), []
        while True:
            data, ancillary, _, _ = receiver.recvmsg(at_once, 1024)
            if not data:
                break
            frame = reader.feed(data, wire.received_fds(ancillary))
            while frame is not None:
                seen.append([os.fstat(fd).st_ino for fd in frame.fds])
                wire.close_all(frame.fds)
                frame = reader.next()
    first, second = (os.fstat(fd).st_ino for fd in fds)
    wire.close_all(fds)
    assert seen == [[], [first], [], [second], []]


def test_a_descriptor_that_no_frame_announced_breaks_the_stream():
    fd = os.memfd_create("stray")
    reader = wire.FrameReader()
    with pytest.raises(wire.BrokenFrame, match="0 descriptors announced, 1 received"):
        reader.feed(wire.encode(PONG, 1), [fd])
    reader.discard()
    with pytest.raises(OSError):
        os.fstat(fd)


@pytest.mark.parametrize(
    "header, complaint",
    [
        (wire.HEADER.pack(0x31545249, 0, 0, 6, 0, 0), "cannot begin"),
        (wire.HEADER.pack(wire.MAGIC, 0, 0, 6, 1, 0), "cannot begin"),
        (wire.HEADER.pack(wire.MAGIC, 0xFFFFFFFF, 0, 6, 0, 0), "at most 4096"),
        (wire.HEADER.pack(wire.MAGIC, 0, 0, 6, 0, 1), "1 descriptors announced, 0 received"),
    ],
)
def test_a_broken_header_is_refused_before_anything_is_allocated(header, complaint):
    with pytest.raises(wire.BrokenFrame, match=complaint):
        wire.FrameReader().feed(header, [])


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\x00\x00\x00",  # an array of four thousand million
        b"\x81\xa5model\xdb\xff\xff\xff\xff",  # a string of four gigabytes
        b"\x81\xa5model\xa1\xff",  # not UTF-8
        b"\x80",  # no model
        b"\x80\x80",  # something behind the end
        b"\xc0",
        b"",
        b"\x91" * 100_000 + b"\xc0",
        b"\xc7\x00\x01",  # an extension type
    ],
)
def test_a_body_that_lies_is_refused(body):
    with pytest.raises(wire.BrokenFrame):
        wire.decode(wire.Frame(messages.LoadModel.TYPE, 1, body, []))


@pytest.mark.parametrize(
    "most, too_much",
    [
        ([0] * 4096, [0] * 4097),
        ({str(i): 0 for i in range(256)}, {str(i): 0 for i in range(257)}),
        ("a" * wire.MAX_TEXT_BYTES, "a" * (wire.MAX_TEXT_BYTES + 1)),
        (b"a" * 512 * 1024, b"a" * (512 * 1024 + 1)),
        (0, msgpack.ExtType(5, b"a")),
    ],
    ids=["items", "entries", "text", "bytes", "extension"],
)
def test_values_of_newer_services_keep_to_the_limits_all_the_same(most, too_much):
    def decode(value):
        return wire.decode(wire.Frame(messages.Pong.TYPE, 1, msgpack.packb({"later": value}), []))

    assert decode(most) == messages.Pong()
    with pytest.raises(wire.BrokenFrame):
        decode(too_much)


def test_every_text_may_be_as_long_as_the_contract_says():
    contract = tomllib.loads(CONTRACT.read_text(encoding="utf-8"))
    most = contract["messages"]["metrics_text"]["fields"]["text"]["max_bytes"]
    assert most > wire.MAX_TEXT_BYTES

    def decoded(nbytes):
        data = wire.encode(messages.MetricsText(text="x" * nbytes), 1)
        return wire.decode(wire.Frame(messages.MetricsText.TYPE, 1, data[wire.HEADER.size :], []))

    assert len(decoded(most).text) == most
    with pytest.raises(wire.BrokenFrame):
        decoded(most + 1)
    longest = [
        field["max_bytes"]
        for kind in ("structs", "messages")
        for one in contract[kind].values()
        for field in one.get("fields", {}).values()
        if field["type"].strip("[]") == "str" and "max_bytes" in field
    ]
    assert max(longest) == max(messages.LONGEST_TEXTS.values())


def test_random_bodies_never_do_worse_than_being_refused():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    whole = wire.encode(messages.LoadModel(model="ember"))[wire.HEADER.size :]
    for _ in range(5000):
        body = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        kind = rng.choice(list(messages.BY_TYPE))
        with contextlib.suppress(wire.BrokenFrame):
            wire.decode(wire.Frame(kind, 1, bytes(body[: rng.randrange(len(body) + 1)]), []))


def test_a_type_of_a_newer_service_is_no_message():
    assert wire.decode(wire.Frame(250, 1, b"\x80", [])) is None


def test_a_message_over_the_limit_is_refused_before_sending():
    parts = [messages.ContentPart(kind="text", text="x" * 200_000) for _ in range(6)]
    chat = [messages.ChatMessage(role="user", content=parts)]
    with pytest.raises(errors.BadRequest, match="at most 1048576"):
        wire.encode(messages.Generate(model="m", messages=chat))


def test_token_ids_are_signed_little_endian():
    assert wire.packed_integers(struct.pack("<3i", 1, -2, 151655)) == [1, -2, 151655]


def deliver(exchanges, request_id, message, fds=()):
    exchanges.deliver(wire.Frame(message.TYPE, request_id, b"", list(fds)), message)


class Memory:
    def __init__(self):
        self.released = 0

    def release(self):
        self.released += 1


PONG = messages.Pong()


def test_a_request_ends_once_and_later_frames_are_void():
    exchanges = wire.Exchanges()
    first, second = exchanges.begin(), exchanges.begin()
    deliver(exchanges, first.request_id, PONG)
    deliver(exchanges, first.request_id, messages.Error(code="internal", what="again"))
    assert first.result() == PONG
    assert second.outcome is None and len(exchanges) == 1


def test_ids_are_never_used_twice():
    exchanges = wire.Exchanges()
    ids = []
    for _ in range(100):
        exchange = exchanges.begin()
        ids.append(exchange.request_id)
        deliver(exchanges, exchange.request_id, PONG)
    assert ids == list(range(1, 101))


def test_memory_is_free_when_the_service_has_read_it():
    exchanges = wire.Exchanges()
    exchange = exchanges.begin()
    exchange.slot = memory = Memory()
    deliver(exchanges, exchange.request_id, messages.InputsDone())
    assert memory.released == 1
    deliver(exchanges, exchange.request_id, PONG)
    assert memory.released == 1


def test_memory_of_an_abandoned_request_waits_for_its_end():
    exchanges = wire.Exchanges()
    exchange = exchanges.begin()
    exchange.slot = memory = Memory()
    exchange.abandoned = True
    deliver(exchanges, exchange.request_id, messages.Token(text="x", token_ids=b""))
    assert memory.released == 0 and not exchange.events
    deliver(exchanges, exchange.request_id, messages.Error(code="cancelled", what="x"))
    assert memory.released == 1


def test_descriptors_that_nobody_takes_are_closed():
    def pair():
        reader, writer = os.pipe()
        os.close(writer)
        return reader

    exchanges = wire.Exchanges()
    abandoned = exchanges.begin()
    abandoned.abandoned = True
    fds = [pair(), pair(), pair(), pair()]
    deliver(exchanges, 99, PONG, [fds[0]])
    deliver(exchanges, abandoned.request_id, messages.InputsDone(), [fds[3]])
    deliver(exchanges, abandoned.request_id, PONG, [fds[1]])
    reader = wire.FrameReader()
    reader.feed(b"HRT1", [fds[2]])
    reader.discard()
    for fd in fds:
        with pytest.raises(OSError):
            os.fstat(fd)


def test_every_code_has_its_class():
    for code, (doc, hint, retryable) in messages.ERRORS.items():
        error = errors.BY_CODE[code]("It happened.")
        assert type(error).__name__ == code.title().replace("_", "")
        assert isinstance(error, errors.HearthError)
        assert (error.code, error.hint, error.retryable) == (code, hint, retryable)
        assert str(error) == f"It happened. {hint}".strip()
        assert type(error).__doc__ == doc
        assert getattr(errors, type(error).__name__) is type(error)


def test_an_unknown_code_is_kept_as_a_word():
    error = errors.from_reply(messages.Error(code="melted", what="w", hint="h", retryable=True))
    assert type(error) is errors.HearthError
    assert (error.code, str(error), error.retryable) == ("melted", "w. h", True)


def test_importing_the_client_is_cheap_and_brings_no_torch(tmp_path):
    program = (
        "import sys, time; import msgpack, socket, select; began = time.process_time();"
        "import hearth.client; took = time.process_time() - began;"
        "import hearth.aio;"
        "bad = {'torch', 'numpy', 'rich', 'PIL'} & set(sys.modules); assert not bad, bad;"
        "print(took * 1000)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # the first run compiles, as pip does
    times = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        times.append(float(ran.stdout))
    assert min(times) < 50, times  # of CPU, so that a busy machine does not count


def test_the_version_is_the_repository_s():
    from hearth.version import VERSION

    root = os.path.join(os.path.dirname(__file__), "..", "..")
    with open(os.path.join(root, "VERSION")) as file:
        assert file.read().strip() == VERSION
