"""A service made for tests: speaks the real frames over a real socket and does what a test says.

    with Server(tmp_path) as server:
        server.on[messages.Generate] = lambda peer, frame, request: ...

A handler gets the connection, the frame and the decoded message, on the server's own thread. The
requests that have no handler are answered as a healthy service would.
"""

import array
import contextlib
import os
import socket
import threading
import time

import numpy

from hearth import messages, wire

LIMITS = messages.Limits(
    frame_bytes=1 << 20, open_requests=64, arenas=16, arena_bytes=8 << 30, tensors=64
)
RECEIPT = messages.Receipt(total_ms=1.0, generated_tokens=2, model="fake")
PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]
STATES = numpy.random.default_rng(3).standard_normal((5, 7)).astype("f4")


def packed_ids(*ids):
    return array.array("i", ids).tobytes()


def generated(text="a red circle", **fields):
    """The end of a generate request."""
    fields = {
        "token_ids": packed_ids(5, 6),
        "prompt_token_ids": packed_ids(1, 2, 3),
        "token_us": packed_ids(0, 1500),
        "stop_reason": "end_token",
        "receipt": RECEIPT,
        **fields,
    }
    return messages.Generated(text=text, **fields)


def token(text):
    return messages.Token(text=text, token_ids=packed_ids(7))


def values(tensor):
    """Numbers of a torch or numpy tensor of any type."""
    return numpy.array(tensor.tolist(), "f4")


def open_files():
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def wait_until(condition, limit_s=10):
    """Polls, so that a test is as fast as what it waits for."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


class Peer:
    """One accepted connection."""

    def __init__(self, server, connected):
        self.server = server
        self.socket = connected
        self.received = []  # messages, in order
        self.ids = []  # of their requests
        self.arenas = {}  # id: memfd, still open
        self.out = {}  # the same of out arenas
        self.is_gone = False
        self._reader = wire.FrameReader(wire.MAX_FRAME_BYTES)

    def send(self, message, request_id=0, fds=()):
        """One frame; descriptors travel with the header."""
        data = wire.encode(message, request_id, len(fds))
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            self.socket.sendmsg([data[: wire.HEADER.size]], [rights])
            data = data[wire.HEADER.size :]
        self.send_bytes(data)

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_gone = True

    def close(self):
        with contextlib.suppress(OSError):  # the client was faster
            self.socket.shutdown(socket.SHUT_RDWR)

    def messages_of(self, kind):
        return [message for message in self.received if isinstance(message, kind)]

    def ids_of(self, kind):
        """Request ids of the messages of this kind, in order."""
        return [i for i, m in zip(self.ids, self.received, strict=False) if isinstance(m, kind)]

    def lend(self, nbytes=1 << 20):
        """A new out arena."""
        fd = os.memfd_create("out", os.MFD_CLOEXEC)
        os.posix_fallocate(fd, 0, nbytes)
        self.server.arena_count += 1
        arena = self.server.arena_count
        self.out[arena] = fd
        self.send(messages.OutArena(arena=arena, nbytes=nbytes), fds=[fd])
        return arena

    def result(self, array, dtype, arena=None, offset=4096):
        """Writes a result and returns its descriptor."""
        arena = self.lend() if arena is None else arena
        os.pwrite(self.out[arena], array.tobytes(), offset)
        shape = list(array.shape)
        return messages.Tensor(
            arena=arena, offset=offset, nbytes=array.nbytes, dtype=dtype, shape=shape
        )

    @property
    def released(self):
        """(arena, offset) of all slots that the client gave back, in order."""
        slots = [slot for release in self.messages_of(messages.Release) for slot in release.slots]
        return [(slot.arena, slot.offset) for slot in slots]

    def arena_bytes(self, tensor):
        """What the client put there."""
        return os.pread(self.arenas[tensor.arena], tensor.nbytes, tensor.offset)

    def serve(self):
        try:
            while not self.is_gone:
                data, ancillary, _, _ = self.socket.recvmsg(
                    self._reader.wanted, 4096, socket.MSG_CMSG_CLOEXEC
                )
                if not data:
                    break
                frame = self._reader.feed(data, wire.received_fds(ancillary))
                if frame is not None:
                    self._answer(frame)
        except OSError:
            pass
        self.is_gone = True
        self.socket.close()

    def _answer(self, frame):
        message = wire.decode(frame)
        self.ids.append(frame.request_id)
        self.received.append(message)
        handler = self.server.on.get(type(message), DEFAULTS.get(type(message)))
        if handler is not None:
            handler(self, frame, message)
        wire.close_all(frame.fds)


def welcome(peer, _frame, _hello):
    peer.send(
        messages.Welcome(
            version=messages.PROTOCOL_VERSION,
            server="test",
            boot_id=peer.server.boot_id,
            connection=len(peer.server.peers),
            limits=peer.server.limits,
            schema_hash=messages.SCHEMA_HASH,
            heartbeat_ms=peer.server.heartbeat_ms,
        )
    )


def grant(peer, frame, ask):
    fd = os.memfd_create("arena", os.MFD_CLOEXEC)
    os.ftruncate(fd, ask.nbytes)
    peer.server.arena_count += 1
    peer.arenas[peer.server.arena_count] = fd
    reply = messages.ArenaGrant(arena=peer.server.arena_count, nbytes=ask.nbytes)
    peer.send(reply, frame.request_id, [fd])


def offered(peer, frame, offer):
    assert len(frame.fds) == len(offer.labels)
    sizes = [os.fstat(fd).st_size for fd in frame.fds]
    reply = messages.ModelOffered(model=f"id-{sum(sizes)}-{offer.dtype}", family="fake")
    peer.send(reply, frame.request_id)


def answer(peer, frame, _request):
    peer.send(messages.InputsDone(), frame.request_id)
    peer.send(token("a red "), frame.request_id)
    peer.send(token("circle"), frame.request_id)
    peer.send(generated(), frame.request_id)


def encoded(*tensors):
    """The end of an encode request."""
    return messages.Encoded(
        tensors=list(tensors), prompt_token_ids=packed_ids(1, 2, 3), receipt=RECEIPT
    )


def encodes(*arrays, dtype="f32"):
    """A handler that answers with these, in one new arena, a page each."""

    def handler(peer, frame, _request):
        arena = peer.lend(4096 * (len(arrays) + 1))
        tensors = [
            peer.result(array, dtype, arena, 4096 * (index + 1))
            for index, array in enumerate(arrays)
        ]
        peer.send(encoded(*tensors), frame.request_id)

    return handler


def replies(message):
    """A handler that answers every request with `message`."""
    return lambda peer, frame, _request: peer.send(message, frame.request_id)


def fails(code, what="it happened", **fields):
    return replies(messages.Error(code=code, what=what, **fields))


def silent(_peer, _frame, _request):
    """A handler that answers nothing."""


DEFAULTS = {
    messages.Hello: welcome,
    messages.ArenaAsk: grant,
    messages.ArenaDrop: replies(messages.ArenaDropped()),
    messages.OfferModel: offered,
    messages.Generate: answer,
    messages.Release: replies(messages.Released()),
    messages.Ping: replies(messages.Pong()),
    messages.ListModels: replies(messages.ModelList(models=[])),
    messages.ListJobs: replies(messages.JobList()),
    messages.PlanLoad: lambda peer, frame, plan: peer.send(
        messages.LoadPlan(
            model=plan.model,
            fits=True,
            memory=messages.MemoryPlan(weights_bytes=3 << 30, cache_bytes=1 << 30),
            free_bytes=1 << 30,
            budget_bytes=8 << 30,
            leaving=["another"],
        ),
        frame.request_id,
    ),
    messages.FreeMemory: replies(
        messages.MemoryFreed(freed_bytes=5 << 30, resident_bytes=1 << 30, models=["another"])
    ),
    messages.UnloadModel: replies(messages.ModelUnloaded(resident=False)),
    messages.Status: replies(
        messages.StatusReport(server="test", boot_id="b", uptime_ms=1, worker_state="ready")
    ),
    messages.LoadModel: lambda peer, frame, load: peer.send(
        messages.ModelLoaded(model=load.model, resident_bytes=1, load_ms=2.0), frame.request_id
    ),
}


class Server:
    """Listens at `path`; one thread accepts, one serves each connection."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "hearth.sock")
        self.on = {}
        self.limits = LIMITS
        self.heartbeat_ms = 0
        self.boot_id = "boot-1"
        self.peers = []
        self.arena_count = 0
        self._listener = None
        self._stopping = threading.Lock()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def peer(self):
        """The newest connection."""
        return self.peers[-1]

    def start(self):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            self.peers.append(Peer(self, connected))
            threading.Thread(target=self.peers[-1].serve, daemon=True).start()

    def stop(self):
        """As if the service were killed: all its sockets close at once."""
        with self._stopping:
            if self._listener is not None:
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
                os.unlink(self.path)
            for peer in self.peers:
                self._end(peer)

    def _end(self, peer):
        if not peer.is_gone:
            peer.close()
        wait_until(lambda: peer.is_gone)
        for fd in [*peer.arenas.values(), *peer.out.values()]:
            os.close(fd)
        peer.arenas, peer.out = {}, {}
