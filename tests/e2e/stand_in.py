"""An engine process that is none: it says that it is ready and then breaks the rules of the link.

stand_in.py WAY --link-fd FD …: `silent` sends nothing more, `garbage` a message that nobody can
read, `header` a frame that cannot be, `beats` goes on as an idle engine does.
"""

import socket
import struct
import sys
import time

from hearth import messages, wire


def main(way, link):
    ready = messages.WorkerReady(
        device=messages.Device(kind="cpu", name="none"), slots=1, families=[]
    )
    link.sendall(wire.encode(ready))
    beat = wire.encode(messages.Beat(phase="idle"))
    if way == "garbage":
        magic = wire.encode(ready)[:4]
        link.sendall(magic + struct.pack("<IIBBH", 8, 0, ready.TYPE, 0, 0) + b"\xff" * 8)
    if way == "header":
        link.sendall(b"no such frame at all" * 8)
    while True:
        if way == "beats":
            link.sendall(beat)
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[sys.argv.index("--link-fd") + 1])))
