"""A model that a private service holds loaded; texts of a known number of tokens, and pictures,
for it."""

import contextlib
import dataclasses
import itertools
import threading
import time

import numpy

import harness
import hearth.client

CHAT_TOKENS = 8  # what the chat layout adds to a text of one user turn


def text(tokens, number=None):
    """A user's turn whose prompt has so many tokens. Texts of different numbers (below 10,000)
    differ from the first word on, so that no prefix is shared."""
    first = "the" if number is None else f"{number:04d}"
    spent = 1 if number is None else 4  # a digit is a token
    return first + " the" * (tokens - CHAT_TOKENS - spent)


def picture(seed, side):
    """u8 [side, side, 3] of random noise."""
    noise = numpy.random.default_rng(seed).integers(0, 256, (side, side, 3), numpy.uint8)
    return numpy.ascontiguousarray(noise)


@contextlib.contextmanager
def model(folder, weights, *arguments):
    """Starts a service, loads `folder` with these weights; yields a ServedModel."""
    with (
        harness.service("--no-ember", *arguments) as socket,
        hearth.client.connect(socket) as client,
    ):
        yield ServedModel(socket, client, folder, weights)


class ServedModel:
    def __init__(self, socket, client, folder, weights):
        self.client = client
        self._socket, self._folder, self._weights = socket, folder, weights
        self._numbers = itertools.count(1000)
        self.model = client.offer_model(folder, weights)
        client.load(self.model)

    def read(self, tokens, new=1, unique=False):
        """Continues a prompt of so many tokens; unique: one that no cache has seen."""
        return self.generate(text(tokens, next(self._numbers) if unique else None), new)

    def generate(self, content, new):
        return greedy(self.client, self.model, content, new)

    def generate_together(self, contents, new):
        """Each by a client of its own, begun at once. Returns a Burst."""
        replies = [None] * len(contents)
        barrier = threading.Barrier(len(contents) + 1)

        def run(row):
            with hearth.client.connect(self._socket) as client:
                model = client.offer_model(self._folder, self._weights)
                barrier.wait()
                replies[row] = greedy(client, model, contents[row], new)

        threads = [threading.Thread(target=run, args=(row,)) for row in range(len(contents))]
        for thread in threads:
            thread.start()
        barrier.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return Burst(replies, time.perf_counter() - began)


@dataclasses.dataclass
class Burst:
    """Answers that were begun at once, and the seconds until the last of them ended."""

    replies: list
    seconds: float

    def tokens_per_second(self):
        """Of the whole burst: prompts, and the steps that were not full, included."""
        return sum(len(reply.token_ids) for reply in self.replies) / self.seconds

    def tokens_per_second_of_all(self):
        """While every answer was being written: after the last one's first token and before the
        first one's last."""
        times = [self._token_times(reply) for reply in self.replies]
        begin, end = max(row[0] for row in times), min(row[-1] for row in times)
        written = sum(begin < time <= end for row in times for time in row)
        if written < 8 * len(self.replies):
            raise SystemExit("the answers hardly overlapped: ask for more tokens (--new)")
        return written / (end - begin)

    @staticmethod
    def _token_times(reply):
        """Seconds from the burst's begin, at which the service took all requests."""
        elapsed_us = itertools.accumulate(reply.token_us)
        return [reply.receipt.first_token_ms / 1e3 + us / 1e6 for us in elapsed_us]


def greedy(client, model, content, new):
    messages = [{"role": "user", "content": content}]
    reply = client.generate(model, messages, temperature=0.0, max_tokens=new)
    if len(reply.token_ids) != new:
        raise SystemExit(f"stopped after {len(reply.token_ids)} tokens: {reply.stop_reason}")
    return reply
