"""Whole answers, as callers read them."""

from __future__ import annotations

from typing import NamedTuple

from . import messages
from .wire import packed_integers


class Other(NamedTuple):
    """One of several answers to a request, but the first. Its fields mean what Reply's mean."""

    text: str
    thinking: str
    token_ids: list[int]
    stop_reason: str
    score: float
    token_us: list[int]


class Reply(NamedTuple):
    """A whole answer. Token ids include the stop token; `receipt` says where the time went,
    `token_us` how many microseconds after the one before each token came (0 for the first; empty
    when the answer was kept from an equal question)."""

    text: str  # without thoughts
    token_ids: list[int]
    prompt_token_ids: list[int]
    stop_reason: str  # end_token, stop_string or max_tokens
    receipt: messages.Receipt
    warnings: list[str]
    token_us: list[int]
    thinking: str = ""  # the model's thoughts before the text
    thinking_closed: bool = False  # they reached thinking_tokens and were closed
    score: float = 0.0  # beam search: sum of the log probabilities over length ^ length_penalty
    others: tuple[Other, ...] = ()  # the second answer and those after it
    pictures: tuple[messages.SeenPicture, ...] = ()  # as the model saw them, in order
    coordinates: str = "none"  # what numbers of boxes count: none, thousandths or pixels

    @property
    def texts(self) -> list[str]:
        """All answers, the first one first."""
        return [self.text, *(other.text for other in self.others)]


class TokenCount(NamedTuple):
    """What a chat would take of the context, which prompt and answer share."""

    prompt_tokens: int  # of the whole prompt
    image_tokens: int  # of these, of pictures and videos
    context_tokens: int
    pictures: tuple[messages.SeenPicture, ...]  # as the model would see them, in order


def count_of(counted: messages.TokensCounted) -> TokenCount:
    """The numbers in a reply."""
    return TokenCount(
        counted.prompt_tokens,
        counted.image_tokens,
        counted.context_tokens,
        tuple(counted.pictures),
    )


def reply_of(generated: messages.Struct) -> Reply:
    """The answer in a terminal frame."""
    assert isinstance(generated, messages.Generated)
    return Reply(
        generated.text,
        packed_integers(generated.token_ids),
        packed_integers(generated.prompt_token_ids),
        generated.stop_reason,
        generated.receipt,
        generated.warnings,
        packed_integers(generated.token_us),
        generated.thinking,
        generated.thinking_closed,
        generated.score,
        tuple(_other(answer) for answer in generated.others),
        tuple(generated.pictures),
        generated.coordinates,
    )


def _other(answer: messages.Answer) -> Other:
    return Other(
        answer.text,
        answer.thinking,
        packed_integers(answer.token_ids),
        answer.stop_reason,
        answer.score,
        packed_integers(answer.token_us),
    )
