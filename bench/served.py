"""A model that a private service holds loaded, and texts of a known number of tokens for it."""

import contextlib
import itertools
import threading
import time

import harness
import hearth.client

CHAT_TOKENS = 8  # what the chat layout adds to a text of one user turn


def text(tokens, number=None):
    """A user's turn whose prompt has so many tokens. Texts of different numbers (below 10,000)
    differ from the first word on, so that no prefix is shared."""
    first = "the" if number is None else f"{number:04d}"
    spent = 1 if number is None else 4  # a digit is a token
    return first + " the" * (tokens - CHAT_TOKENS - spent)


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
        """Each by a client of its own, begun at once: tokens a second of all, and the replies."""
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
        return len(contents) * new / (time.perf_counter() - began), replies


def greedy(client, model, content, new):
    messages = [{"role": "user", "content": content}]
    reply = client.generate(model, messages, temperature=0.0, max_tokens=new)
    if len(reply.token_ids) != new:
        raise SystemExit(f"stopped after {len(reply.token_ids)} tokens: {reply.stop_reason}")
    return reply
