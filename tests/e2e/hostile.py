"""A peer that keeps no rule: raw bytes, lying headers, half frames, descriptors where none belong.

It reads and decodes like any client, so that tests can see what the service makes of it.
"""

import array
import itertools
import math
import mmap
import os
import socket
from pathlib import Path
from typing import NamedTuple

from hearth import messages, wire

LIMIT_S = 10.0  # for the service to answer, or to hang up
EMPTY_BODY = b"\x80"


def frame(kind, body=EMPTY_BODY, request_id=1, **lies):
    """A frame, as true as `lies` (magic, body_len, flags, n_fds) leave it."""
    header = {"magic": wire.MAGIC, "body_len": len(body), "flags": 0, "n_fds": 0, **lies}
    return (
        wire.HEADER.pack(
            header["magic"],
            header["body_len"],
            request_id,
            kind,
            header["flags"],
            header["n_fds"],
        )
        + body
    )


def chat(*content):
    """One turn of a user: texts, and tensors as pictures."""
    parts = [
        messages.ContentPart(kind="text", text=part)
        if isinstance(part, str)
        else messages.ContentPart(kind="image", tensor=part)
        for part in content
    ]
    return [messages.ChatMessage(role="user", content=parts)]


class Arena(NamedTuple):
    """Granted memory, mapped, with its descriptor kept for whatever a test does to it."""

    id: int
    memory: mmap.mmap
    fd: int

    def tensor(self, shape, offset=4096):
        return messages.Tensor(
            arena=self.id, offset=offset, nbytes=math.prod(shape), dtype="u8", shape=list(shape)
        )


class Peer:
    """One connection. Also a context; leaving it closes the socket and all that was received."""

    def __init__(self, path, greet=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))
        self.events = []  # (request id, event), in order
        self.ended = {}  # request id: its terminal message
        self.fds = []  # all that were received
        self.lent = {}  # out arena: its descriptor
        self._reader = wire.FrameReader(wire.MAX_FRAME_BYTES)
        self._ids = itertools.count(1)
        self._arenas = []
        self.welcome = self.greet() if greet else None

    def greet(self, **fields):
        versions = {"oldest": messages.OLDEST_PROTOCOL_VERSION, "newest": messages.PROTOCOL_VERSION}
        self.send(messages.Hello(**{**versions, "client": "hostile", **fields}), 0)
        return self.answer(0)

    # --- out ---

    def send(self, message, request_id=None, fds=()):
        """Sends a message that is in order. Returns its request id."""
        request_id = next(self._ids) if request_id is None else request_id
        self.send_bytes(wire.encode(message, request_id, len(fds)), fds)
        return request_id

    def send_bytes(self, data, fds=()):
        """Whatever bytes, with whatever descriptors beside the first of them."""
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            data = data[self.socket.sendmsg([data], [rights]) :]
        if data:
            self.socket.sendall(data)

    # --- in ---

    def receive(self):
        """The next (request id, message). Raises EOFError when the service has hung up."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(
                    self._reader.wanted, 1024, socket.MSG_CMSG_CLOEXEC
                )
            except ConnectionResetError:
                raise EOFError from None
            if not data:
                raise EOFError
            whole = self._reader.feed(data, wire.received_fds(ancillary))
            if whole is not None:
                self.fds += whole.fds
                message = wire.decode(whole)
                if isinstance(message, messages.OutArena):
                    self.lent[message.arena] = whole.fds[0]
                return whole.request_id, message

    def answer(self, request_id):
        """Reads until this request has ended and returns its terminal message."""
        while request_id not in self.ended:
            which, message = self.receive()
            if message.KIND == "event":
                self.events.append((which, message))
            elif message.KIND == "reply" or isinstance(message, messages.Welcome):
                assert which not in self.ended, f"request {which} ended twice"
                self.ended[which] = message
        return self.ended.pop(request_id)

    def ask(self, message, fds=()):
        return self.answer(self.send(message, fds=fds))

    def farewell(self):
        """Reads until the service hangs up. Returns the error it gave as the reason, if any."""
        last = None
        try:
            while True:
                which, message = self.receive()
                if which == 0 and isinstance(message, messages.Error):
                    last = message
        except EOFError:
            return last

    def is_served(self):
        return isinstance(self.ask(messages.Ping()), messages.Pong)

    # --- what clients have ---

    def offer(self, folder):
        """Offers a model folder. Returns its id."""
        files = sorted(Path(folder).iterdir())
        fds = [os.open(file, os.O_RDONLY) for file in files]
        try:
            names = [file.name for file in files]
            return self.ask(messages.OfferModel(name="hostile", labels=names), fds).model
        finally:
            wire.close_all(fds)

    def arena(self, nbytes=1 << 20):
        grant = self.ask(messages.ArenaAsk(nbytes=nbytes))
        assert isinstance(grant, messages.ArenaGrant), grant.what
        fd = self.fds.pop()
        granted = Arena(grant.arena, mmap.mmap(fd, grant.nbytes), fd)
        self._arenas.append(granted)
        return granted

    def close(self):
        self.socket.close()
        wire.close_all(self.fds)
        wire.close_all(arena.fd for arena in self._arenas)
        self.fds, self._arenas = [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
