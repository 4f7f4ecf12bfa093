"""One client of the soak: does at random what clients do, and checks every answer.

python soak_client.py SOCKET COPY_OF_EMBER SEED

Runs until its standard input ends, then prints one line of JSON: how often it did what, and the
first errors. Whatever it does not expect is an error.
"""

import collections
import contextlib
import json
import random
import select
import sys
import time
from pathlib import Path

sys.modules["torch"] = None  # the client works without it, and eight of them start faster

import numpy  # noqa: E402

import hearth.client  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models/ember"))
import world  # noqa: E402

ERRORS_KEPT = 10
RAMBLING = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "max_tokens": 400}


def picture(number):
    """A drawing that ember knows, and what it must say about it."""
    image, _ = world.draw(number)
    return numpy.asarray(image)


class Life:
    """What one client does. Every method returns when the service has answered rightly."""

    def __init__(self, path, copy, rng):
        self.path, self.copy, self.rng = path, copy, rng
        self.client = hearth.client.connect(path, 10)
        self._pictures = [picture(number) for number in range(20, 28)]
        self._said = {}  # first answers: all later ones must equal them

    def _ask(self, number):
        return [{"role": "user", "content": [self._pictures[number], world.PROMPT]}]

    def _check(self, key, answer):
        expected = self._said.setdefault(key, answer)
        assert answer == expected, f"{key}: {answer!r} instead of {expected!r}"

    def describe(self, model="ember"):
        number = self.rng.randrange(8)
        reply = self.client.generate(model, self._ask(number), temperature=0.0)
        self._check(("text", number), reply.text)

    def describe_with_a_copy(self):
        """Another model than ember, loaded and given up: reloads happen."""
        model = self.client.offer_model(self.copy, self.rng.choice(["float32", "bfloat16"]))
        number = self.rng.randrange(8)
        reply = self.client.generate(model, self._ask(number), temperature=0.0, max_tokens=8)
        self._check((model, number), reply.text)
        self.client.unload(model)

    def stream(self):
        number = self.rng.randrange(8)
        pieces = list(self.client.generate("ember", self._ask(number), True, temperature=0.0))
        self._check(("text", number), "".join(pieces))

    def cancel(self):
        stream = self.client.generate(
            "ember", self._ask(0), True, seed=self.rng.randrange(2**31), **RAMBLING
        )
        for _ in zip(stream, range(self.rng.randrange(1, 20)), strict=False):
            pass
        stream.cancel()

    def interrupt(self):
        """A call that its own program ends, at any moment."""
        until = time.monotonic() + self.rng.uniform(0, 0.3)

        class Enough(Exception):
            pass

        def interrupted():
            if time.monotonic() > until:
                raise Enough
            return False

        with contextlib.suppress(Enough):
            self.client.generate("ember", self._ask(1), interrupted=interrupted, **RAMBLING)

    def encode(self):
        number = self.rng.randrange(8)
        encoded = self.client.encode("ember", self._ask(number))
        self._check(("states", number), numpy.asarray(encoded.hidden).shape)

    def count(self):
        number = self.rng.randrange(8)
        counted = self.client.count_tokens("ember", self._ask(number))
        self._check(("tokens", number), counted.prompt_tokens)

    def put(self):
        with self.client.put(self._pictures[2]) as held:
            chat = [{"role": "user", "content": [held, world.PROMPT]}]
            for _ in range(3):
                reply = self.client.generate("ember", chat, temperature=0.0)
                self._check(("text", 2), reply.text)

    def reconnect(self):
        self.client.close()
        self.client = hearth.client.connect(self.path, 10)

    def free_memory(self):
        self.client.free_memory()


DEEDS = {Life.describe: 8, Life.stream: 6, Life.cancel: 4, Life.interrupt: 4, Life.encode: 2,
         Life.count: 4, Life.put: 2, Life.reconnect: 1, Life.describe_with_a_copy: 1,
         Life.free_memory: 0.3}  # fmt: skip

STREAMS = (Life.stream, Life.cancel)


def is_asked_to_end():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main(path, copy, seed):
    rng = random.Random(int(seed))
    done, errors = collections.Counter(), []
    life = Life(path, copy, rng)
    while not is_asked_to_end():
        deed = rng.choices(list(DEEDS), list(DEEDS.values()))[0]
        try:
            deed(life)
            done[deed.__name__] += 1
        except hearth.client.WorkerLost as error:
            # Of a stream, a part was read already: only the reader can begin again, and does.
            done["cut_off"] += 1
            if deed not in STREAMS:
                errors.append(f"{time.strftime('%T')} {deed.__name__}: {error!r}")
        except Exception as error:
            done["errors"] += 1
            if len(errors) < ERRORS_KEPT:
                errors.append(f"{time.strftime('%T')} {deed.__name__}: {error!r}")
    life.client.close()
    print(json.dumps({"done": done, "errors": errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
