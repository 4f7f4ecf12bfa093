"""A client that stops at a given point, says so, and waits to be killed.

python victim.py SOCKET POINT MODEL_FOLDER
"""

import signal
import socket
import sys
import time

import numpy

import hearth.client
from hearth.retry import generate_request
from hearth.wire import Exchange

BATCH = numpy.zeros((4, 256, 256, 3), numpy.float32)
POINTS = ("before_hello", "copying", "queued", "running", "streaming", "holding_a_slot")


def ask(words):
    return [{"role": "user", "content": [BATCH, words]}]


def before_hello(path, _folder):
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(path)
    return connected


def copying(path, folder):
    """In shared memory of our own, one picture of four is written."""
    client = hearth.client.connect(path, 5)
    request = generate_request(
        client.offer_model(folder), ask("hello"), {}, retry=False, reuse=False
    )
    steps = client._begin(request)
    for step in steps:
        if isinstance(step, Exchange):
            client._wait(step, None)
        elif client._connection.arenas._arenas:
            break
    return client, steps


def queued(path, folder):
    """Behind as many requests as run at once."""
    client = hearth.client.connect(path, 5)
    model = client.offer_model(folder)
    streams = [client.generate(model, ask("!wait 20 !count 1000"), True) for _ in range(12)]
    while client.status().queued == 0:
        time.sleep(0.005)
    return client, streams


def running(path, folder):
    """Before the first token."""
    client = hearth.client.connect(path, 5)
    stream = client.generate(client.offer_model(folder), ask("!wait prepare 60000"), True)
    while client.status().running == 0:
        time.sleep(0.005)
    return client, stream


def streaming(path, folder):
    client = hearth.client.connect(path, 5)
    stream = client.generate(client.offer_model(folder), ask("!wait 5 !count 1000"), True)
    next(stream)
    return client, stream


def holding_a_slot(path, folder):
    """Nothing open, but shared memory and a loaded model are ours."""
    client = hearth.client.connect(path, 5)
    client.generate(client.offer_model(folder), ask("hello"))
    return client


if __name__ == "__main__":
    held = globals()[sys.argv[2]](sys.argv[1], sys.argv[3])
    print("there", flush=True)
    signal.pause()
