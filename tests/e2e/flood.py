"""Sixteen connections that send at a given pace, either pings or messages that are wrong.

python flood.py SOCKET pings|malformed MESSAGES PER_SECOND

A connection that the service ends is made anew. Prints messages sent, seconds, reconnects.
"""

import itertools
import random
import select
import socket
import struct
import sys
import time

from hostile import frame

from hearth import messages, wire

CONNECTIONS = 16
BURST_S = 0.002  # messages of so long are sent at once
HELLO = wire.encode(messages.Hello(oldest=1, newest=messages.PROTOCOL_VERSION, client="flood"))
GENERATE = messages.Generate.TYPE
PINGS = [frame(messages.Ping.TYPE)]
NAN = b"\x82\xa5model\xa1m\xabtemperature\xcb" + struct.pack(">d", float("nan"))
# Some end the connection.
MALFORMED = [
    frame(GENERATE, b"\xdd\xff\xff\xff\xff"),
    frame(GENERATE, b"\x81\xa1k" + b"\x91" * 500),
    frame(GENERATE, b"\x81\xa5model\xa2\xc3\x28"),
    frame(GENERATE, NAN),
    frame(GENERATE, b"\x80"),
    frame(GENERATE, b"\x81\xa7unknown\x01"),
    frame(GENERATE, b""),
    frame(messages.ArenaAsk.TYPE, b"\x81\xa6nbytes\x00"),
    frame(messages.ArenaDrop.TYPE, b"\x81\xa5arena\xcd\xff\xff"),
    frame(messages.Encode.TYPE, b"\x81\xa6layers\x90"),
    frame(messages.Release.TYPE, b"\x81\xa5slots\x91\x82\xa5arena\x01\xa6offset\x02"),
    frame(messages.OfferModel.TYPE, b"\x82\xa4name\xa1n\xa6labels\x91\xa1x"),
    frame(messages.Status.TYPE, b"\x81\x01\x02"),
    frame(messages.Cancel.TYPE, b"\xc1"),
    frame(200, b"\x80") + frame(messages.Ping.TYPE),
    frame(messages.Ping.TYPE, magic=0),
    frame(messages.Ping.TYPE, body_len=0xFFFFFFFF),
    frame(messages.Ping.TYPE, flags=9),
    frame(messages.Ping.TYPE, n_fds=7),
    HELLO,
]


def with_id(data, request_id):
    return data[:8] + struct.pack("<I", request_id) + data[12:]


class Flooder:
    """One of the connections: never waits for an answer, never keeps one."""

    def __init__(self, path):
        self.reconnects = -1
        self._path = path
        self._unsent = b""
        self._ids = itertools.count(1)
        self.dial()

    def dial(self):
        self.reconnects += 1
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self._path)
        self.socket.setblocking(False)
        self._unsent = HELLO

    def send(self, make, how_many):
        for _ in range(how_many):
            self._unsent += make(next(self._ids))
        try:
            self.drain()
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.socket.close()
            self.dial()

    def drain(self):
        while select.select([self.socket], [], [], 0)[0]:
            if not self.socket.recv(1 << 16):
                raise ConnectionResetError


def main(path, kind, n_messages, per_second):
    rng = random.Random(1)
    makers = {
        "pings": lambda request_id: with_id(rng.choice(PINGS), request_id),
        "malformed": lambda request_id: with_id(rng.choice(MALFORMED), request_id),
    }
    flooders = [Flooder(path) for _ in range(CONNECTIONS)]
    turns = itertools.cycle(flooders)
    began = time.monotonic()
    sent = 0
    while sent < n_messages:
        due = min(n_messages, int((time.monotonic() - began + BURST_S) * per_second))
        while sent < due:
            how_many = min(4, due - sent)
            next(turns).send(makers[kind], how_many)
            sent += how_many
        time.sleep(BURST_S)
    took = time.monotonic() - began
    print(sent, round(took, 2), sum(flooder.reconnects for flooder in flooders))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
