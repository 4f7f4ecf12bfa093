"""Errors in the words of the node that meets them: its inputs, and the model as it was picked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .. import errors, messages
from ..hub_models import repository_for
from ._answer import show
from ._fetch import not_allowed

if TYPE_CHECKING:
    from ._model_folders import Source

_ABOUT_FILES = ("bad_model", "unsupported", "model_changed")
_NEXT = {
    "bad_model": "Fetch what is missing or damaged again, or pick another model.",
    "model_changed": "Run the workflow again.",
}


@contextlib.contextmanager
def in_words_of_the_node(model: str, source: Source) -> Iterator[None]:
    """What is raised inside names the model as it was picked, and stands on the node: some browsers
    show the text of an error only behind a button."""
    try:
        yield
    except errors.HearthError as error:
        told = _told(error, model, source)
        show(str(told))
        raise told from error


@contextlib.contextmanager
def naming_inputs(parts: Mapping[str, str]) -> Iterator[None]:
    """What is raised inside says which input is meant. parts: "messages[0].content[1]": input."""
    try:
        yield
    except errors.HearthError as error:
        what = error.what
        for part, name in parts.items():
            what = what.replace(part, name)
        if what == error.what:
            raise
        raise error.reworded(what, error.hint) from error


def _told(error: errors.HearthError, model: str, source: Source) -> errors.HearthError:
    if error.code == "unknown_model" and isinstance(source.model, str):
        repository = repository_for(model)
        if repository is not None:
            return not_allowed(repository)
        return error.reworded(
            f"The service publishes no model {model!r}.",
            "Pick another one from the list, or publish it: hearthd --model NAME=FOLDER.",
        )
    what, hint = error.what, error.hint
    if error.code in _ABOUT_FILES:
        what = " ".join([f"{model}: {what}", *source.remarks])
        if hint == messages.ERRORS[error.code][1]:
            hint = _NEXT.get(error.code, hint)
    return error.reworded(what, hint)
