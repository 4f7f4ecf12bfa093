"""Forks clients, a few at a time, and kills each at a random moment of whatever it is doing.

python kill_storm.py SOCKET MODEL_FOLDER KILLS SEED

Prints how many lives of each kind there were and how many got as far as they meant to.
"""

import collections
import os
import random
import signal
import sys
import time

sys.modules["torch"] = None  # importing it takes longer than any of these clients lives

import numpy  # noqa: E402
from hostile import Peer, chat, frame  # noqa: E402

import hearth.client  # noqa: E402
from hearth import messages  # noqa: E402

AT_A_TIME = 4
MIB = 1 << 20
PICTURE = numpy.zeros((64, 64, 3), numpy.uint8)


def ask(*content):
    return [{"role": "user", "content": list(content)}]


# Each does one thing, calls there() when it has come to the point, and may go on.


def nothing(path, _model, there):
    with Peer(path, greet=False):
        there()
        signal.pause()


def hello_only(path, _model, there):
    with hearth.client.connect(path, 5):
        there()
        signal.pause()


def half_a_frame(path, _model, there):
    with Peer(path) as peer:
        peer.send_bytes(frame(messages.Generate.TYPE, bytes(500), body_len=1000))
        there()
        signal.pause()


def asking_for_arenas(path, _model, there):
    with Peer(path) as peer:
        while True:
            held = [peer.arena(random.choice([MIB, MIB, 16 * MIB])) for _ in range(4)]
            there()
            for arena in held:
                peer.ask(messages.ArenaDrop(arena=arena.id))


def copying(path, model, there):
    with Peer(path) as peer:
        offered, arena = peer.offer(model), peer.arena(MIB)
        while True:
            arena.memory[4096 : 4096 + 512 * 512 * 3] = bytes(512 * 512 * 3)
            there()
            tensor = arena.tensor((512, 512, 3))
            peer.send(messages.Generate(model=offered, messages=chat(tensor, "!wait 1 !count 9")))


def queued(path, model, there):
    with hearth.client.connect(path, 5) as client:
        offered = client.offer_model(model)
        streams = [client.generate(offered, ask("!wait 5 !count 500"), True) for _ in range(8)]
        while client.status().queued == 0:
            time.sleep(0.001)
        there()
        return streams, signal.pause()


def running(path, model, there):
    with hearth.client.connect(path, 5) as client:
        stream = client.generate(client.offer_model(model), ask("!wait 5 !count 1000"), True)
        while client.status().running == 0:
            time.sleep(0.001)
        there()
        return stream, signal.pause()


def streaming(path, model, there):
    with hearth.client.connect(path, 5) as client:
        for _ in client.generate(client.offer_model(model), ask("!wait 1 !count 900"), True):
            there()
        signal.pause()


def putting(path, model, there):
    with hearth.client.connect(path, 5) as client:
        kept = client.put(PICTURE)
        there()
        while True:
            client.generate(client.offer_model(model), ask(kept, "seen"))


def encoding(path, model, there):
    with Peer(path) as peer:
        offered = peer.offer(model)
        while True:
            peer.ask(messages.Encode(model=offered, messages=chat("hidden"), layers=[0, -1]))
            there()


def holding_results(path, model, there):
    kept = []
    with hearth.client.connect(path, 5) as client:
        offered = client.offer_model(model)
        for number in range(32):
            kept.append(client.encode(offered, ask(f"number {number}"), copy=number % 2 == 0))
            there()
        signal.pause()


LIVES = [nothing, hello_only, half_a_frame, asking_for_arenas, copying, queued, running, streaming,
         putting, encoding, holding_results]  # fmt: skip


def live(number, arrived, arguments):
    """In the forked child: until it is killed."""
    said = False

    def there():
        nonlocal said
        if not said:
            os.write(arrived, bytes([number]))
        said = True

    try:
        LIVES[number](*arguments, there)
    except BaseException as error:
        os.write(2, f"{LIVES[number].__name__} {os.getpid()}: {error!r}\n".encode())
    finally:
        os._exit(3)


def window_s(rng):
    """How long a life may last. Mostly too short for its aim; sometimes long enough for all."""
    return rng.choice([0.02] * 8 + [0.1, 0.4])


def main(path, model, kills, seed):
    rng = random.Random(seed)
    arrivals, arrived = os.pipe()
    lives = collections.Counter()
    alive = {}  # pid: when to kill it
    left, by_itself = kills, 0
    while left or alive:
        while left and len(alive) < AT_A_TIME:
            number = rng.randrange(len(LIVES))
            limit_s = rng.uniform(0, window_s(rng))
            child = os.fork()
            if child == 0:
                random.seed(seed + left)
                live(number, arrived, (path, model))
            alive[child] = time.monotonic() + limit_s
            lives[number] += 1
            left -= 1
        next_pid = min(alive, key=alive.__getitem__)
        time.sleep(max(0.0, alive.pop(next_pid) - time.monotonic()))
        os.kill(next_pid, signal.SIGKILL)
        _, status = os.waitpid(next_pid, 0)
        by_itself += not os.WIFSIGNALED(status)
    os.close(arrived)
    with open(arrivals, "rb") as pipe:
        reached = collections.Counter(pipe.read())
    for number, life in enumerate(LIVES):
        print(life.__name__, lives[number], reached[number])
    return f"{by_itself} clients ended before they were killed" if by_itself else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
