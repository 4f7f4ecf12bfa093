"""One exception class per error code of the contract, all of them HearthErrors.

A class is named after its code: `not_reachable` is NotReachable, `bad_picture` is BadPicture.
The contract (messages.ERRORS) is where codes, hints and `retryable` are declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import messages

# Codes of what is wrong with one picture only: the others of a batch may go on.
ABOUT_ONE_PICTURE = ("bad_picture", "too_long", "not_finite")


class HearthError(Exception):
    """Something that hearth could not do.

    code: a word programs can act on    what: what happened, with values
    hint: what the user can do          retryable: the same call may succeed later
    retry_after_ms: wait at least so long before trying again
    """

    code = "internal"

    def __init__(
        self,
        what: str,
        hint: str | None = None,
        *,
        retryable: bool | None = None,
        retry_after_ms: int = 0,
    ) -> None:
        _, usual_hint, usually_retryable = messages.ERRORS.get(self.code, ("", "", False))
        self.what = what
        self.hint = usual_hint if hint is None else hint
        self.retryable = usually_retryable if retryable is None else retryable
        self.retry_after_ms = retry_after_ms
        super().__init__(what)

    def __str__(self) -> str:
        end = "" if self.what.endswith((".", "!", "?")) else "."
        return f"{self.what}{end} {self.hint}".strip()

    def reworded(self, what: str, hint: str) -> HearthError:
        """The same error in other words."""
        return _again(self.code, what, hint, self.retryable, self.retry_after_ms)

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (self.code, self.what, self.hint, self.retryable, self.retry_after_ms))


def _class_name(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


# ComfyUI imports the package under a name made from its path, and shows it with the error.
_MODULE = "hearth.errors"

BY_CODE: dict[str, type[HearthError]] = {
    code: type(
        _class_name(code), (HearthError,), {"code": code, "__doc__": doc, "__module__": _MODULE}
    )
    for code, (doc, _, _) in messages.ERRORS.items()
}
BY_NAME = {error.__name__: error for error in BY_CODE.values()}
globals().update(BY_NAME)

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[HearthError]: ...


def from_reply(error: messages.Error) -> HearthError:
    """The exception for an error frame. A code of a newer service becomes a plain HearthError."""
    return _again(error.code, error.what, error.hint, error.retryable, error.retry_after_ms)


def _again(code: str, what: str, hint: str, retryable: bool, retry_after_ms: int) -> HearthError:
    made = BY_CODE.get(code, HearthError)(
        what, hint, retryable=retryable, retry_after_ms=retry_after_ms
    )
    made.code = code
    return made


__all__ = ["HearthError", *BY_NAME]
