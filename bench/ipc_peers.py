"""What a program would use instead of hearth's border, each in a process of its own.

A peer has ping(count), take(pictures) and send_back(pictures), which return the milliseconds of
each exchange. `pictures` are used once each: pyisolate moves what it sends to shared memory for
good, so a second time would cost it nothing.
  Echo       a Unix socket and nothing else: the floor under every figure
  Pickle     a pipe and pickled numpy arrays, as node packs talk to a process of their own
  Segments   multiprocessing's SharedMemory, one for each picture, and a pickled message
  Pyisolate  ComfyUI's own isolation: JSON over a socket, torch tensors in shared memory
"""

import asyncio
import logging
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy
import torch

from harness import milliseconds

ECHO_BYTES = 17  # of a ping of ours, header and body


class Echo:
    """A child process that sends back what it receives."""

    def __init__(self):
        self._socket, theirs = socket.socketpair()
        self._process = multiprocessing.get_context("fork").Process(
            target=_echo, args=(theirs,), daemon=True
        )
        self._process.start()
        theirs.close()

    def ping(self, count):
        message = b"." * ECHO_BYTES

        def exchange():
            self._socket.send(message)
            self._socket.recv(64)

        return milliseconds(exchange, count)

    def close(self):
        _end(self._process)


def _echo(ours):
    while received := ours.recv(64):
        ours.send(received)


class Pickle:
    """Whole arrays through a pipe."""

    def __init__(self):
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_answer_pickles, args=(theirs,), daemon=True
        )
        self._process.start()
        theirs.close()

    def _ask(self, *question):
        self._pipe.send(question)
        return self._pipe.recv()

    def ping(self, count):
        return milliseconds(lambda: self._ask("ping"), count)

    def take(self, pictures):
        return _each(pictures, lambda picture: self._ask("take", picture.numpy()))

    def send_back(self, pictures):
        return _each(
            pictures, lambda picture: torch.from_numpy(self._ask("send_back", picture.numpy()))
        )

    def close(self):
        _end(self._process)


def _answer_pickles(pipe):
    while True:
        question, *values = pipe.recv()
        pipe.send(values[0] if question == "send_back" else None)


class Segments:
    """A fresh named segment for each picture; whoever is last unlinks it."""

    def __init__(self):
        resource_tracker.ensure_running()  # one for both, or each would clean up after the other
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_answer_segments, args=(theirs,), daemon=True
        )
        self._process.start()
        theirs.close()

    def take(self, pictures):
        return _each(pictures, lambda picture: self._send("take", picture))

    def send_back(self, pictures):
        return _each(pictures, lambda picture: self._receive(self._send("send_back", picture)))

    def _send(self, question, picture):
        segment = _filled(picture.numpy())
        self._pipe.send((question, segment.name, tuple(picture.shape)))
        answer = self._pipe.recv()
        segment.close()
        segment.unlink()
        return answer

    def _receive(self, answer):
        name, shape = answer
        segment = shared_memory.SharedMemory(name=name)
        private = torch.from_numpy(_array(segment, shape).copy())
        segment.close()
        segment.unlink()
        return private

    def close(self):
        _end(self._process)


def _array(segment, shape):
    return numpy.ndarray(shape, numpy.float32, segment.buf)


def _filled(array):
    segment = shared_memory.SharedMemory(create=True, size=array.nbytes)
    _array(segment, array.shape)[...] = array
    return segment


def _answer_segments(pipe):
    while True:
        question, name, shape = pipe.recv()
        theirs = shared_memory.SharedMemory(name=name)
        answer = None
        if question == "send_back":
            ours = _filled(_array(theirs, shape))
            answer = ours.name, shape
            ours.close()
        theirs.close()
        pipe.send(answer)


class Pyisolate:
    """Needs `pip install pyisolate`; raises ImportError without. Its sandbox is off: it costs
    nothing per call, and bubblewrap is rarely there."""

    def __init__(self):
        import pyisolate
        from pyisolate.config import SandboxMode

        import ipc_extension

        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # uv
        logging.getLogger("pyisolate").setLevel(logging.ERROR)
        self._environments = tempfile.TemporaryDirectory(prefix="hearth-bench-")
        self._loop = asyncio.new_event_loop()
        self._manager = pyisolate.ExtensionManager(
            ipc_extension.Answers, {"venv_root_path": self._environments.name}
        )
        extension = self._manager.load_extension(
            {
                "name": "bench",
                "module_path": str(Path(ipc_extension.__file__).parent),
                "isolated": True,
                "dependencies": [],
                "apis": [],
                "share_torch": True,
                "share_cuda_ipc": False,
                "sandbox_mode": SandboxMode.DISABLED,
            }
        )

        async def start():
            self._proxy = extension.proxy
            await self._proxy.nothing()

        self._loop.run_until_complete(start())

    def ping(self, count):
        return self._run(self._proxy.nothing, [()] * count)

    def take(self, pictures):
        return self._run(self._proxy.take, [(picture,) for picture in pictures])

    def send_back(self, pictures):
        return self._run(self._proxy.send_back, [(picture,) for picture in pictures])

    def _run(self, call, arguments):
        async def all_of_them():
            samples = []
            for values in arguments:
                began = time.perf_counter()
                await call(*values)
                samples.append(1000 * (time.perf_counter() - began))
            return samples

        return self._loop.run_until_complete(all_of_them())

    def close(self):
        self._manager.stop_all_extensions()
        self._loop.close()
        self._environments.cleanup()


def _end(process):
    """The end of the pipe would not do: children that were forked later hold it as well."""
    process.terminate()
    process.join()


def _each(pictures, exchange):
    samples = []
    for picture in pictures:
        samples += milliseconds(lambda: exchange(picture), 1)  # noqa: B023
    return samples


def start_all():
    """{name: peer} of those that can be had, saying which cannot."""
    peers = {"echo": Echo(), "pickle": Pickle(), "segments": Segments()}
    try:
        peers["pyisolate"] = Pyisolate()
    except ImportError:
        print("pyisolate is left out: `pip install pyisolate` brings it.")
    except Exception as error:
        print(f"pyisolate is left out, it did not start: {error}")
    return peers
