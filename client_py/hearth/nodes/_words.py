"""Errors as the user of a node reads them: with the names of its inputs and of the picked model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import errors, messages
from ._answer import show

if TYPE_CHECKING:
    from ._model_folders import Source

_ABOUT_FILES = ("bad_model", "unsupported", "model_changed")
_NEXT = {
    "bad_model": "Fetch what is missing or damaged again, or pick another model.",
    "model_changed": "Run the workflow again.",
}


@contextlib.contextmanager
def in_words_of_the_node(model: str, source: Source, parts: Sequence[str]) -> Iterator[None]:
    """What is raised inside says which input is meant, and stands on the node: some browsers show
    the text of an error only behind a button.

    model: as it was picked    parts: the inputs that the message's parts came from, in order
    """
    try:
        yield
    except errors.HearthError as error:
        told = _told(error, model, source, parts)
        show(str(told))
        raise told from error


def _told(
    error: errors.HearthError, model: str, source: Source, parts: Sequence[str]
) -> errors.HearthError:
    if error.code == "unknown_model" and isinstance(source.model, str):
        return error.reworded(
            f"The service publishes no model {model!r}.",
            "Pick another one from the list, or publish it: hearthd --model NAME=FOLDER.",
        )
    what, hint = error.what, error.hint
    for index, name in enumerate(parts):
        what = what.replace(f"messages[0].content[{index}]", name)
    if error.code in _ABOUT_FILES:
        what = " ".join([f"{model}: {what}", *source.remarks])
        if hint == messages.ERRORS[error.code][1]:
            hint = _NEXT.get(error.code, hint)
    return error.reworded(what, hint)
