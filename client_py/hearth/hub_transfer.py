"""One file over HTTP: goes on where it stopped, tries again, compares the digest, can be ended.

Blocks, at most `_READ_TIMEOUT_S` without looking whether it shall end. The credentials in `headers`
stay with the host they are for: a redirection to another one does not get them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable
from urllib.parse import urlsplit

from . import errors
from .units import amount

_CHUNK_BYTES = 1 << 20
_READ_TIMEOUT_S = 10.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # before trying again, as long as nothing comes
_LOST = (urllib.error.URLError, http.client.HTTPException, OSError)

Watch = tuple[Callable[[int], None], threading.Event]


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it: `sha256` of large ones, of others the id of the git blob."""

    name: str
    nbytes: int
    sha256: str
    blob_id: str


def bring(url: str, headers: dict[str, str], file: HubFile, part: Path, watch: Watch) -> None:
    """Completes the file `part` from `url`.

    watch: called with the bytes that are there; the event that ends it
    Raises Cancelled, NotReachable, UnknownModel, BadModel: then `part` is removed, for none of it
    can be trusted.
    """
    failures = 0
    while True:
        _stop_if_asked(watch)
        before = part.stat().st_size if part.exists() else 0
        try:
            digest = _read_on(url, headers, file, part, watch)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise refused(error.code, file.name, url, "") from error
            problem: Exception = error
        except _LOST as error:
            problem = error
        came_on = part.exists() and part.stat().st_size > before
        failures = 0 if came_on else failures + 1
        if failures > len(_PAUSES_S):
            raise errors.NotReachable(
                f"{file.name} cannot be fetched from {urlsplit(url).netloc}: {problem}.",
                "Run it again: what has come is kept, and it goes on from there.",
            ) from problem
        watch[1].wait(_PAUSES_S[max(failures - 1, 0)])
    _compare(digest, file, part)


def matches(path: Path, file: HubFile, watch: Watch) -> bool:
    """Whether a file is what the hub lists. Raises Cancelled."""
    digest = _Digest(file)
    with open(path, "rb", buffering=0) as stored:
        while chunk := stored.read(_CHUNK_BYTES):
            _stop_if_asked(watch)
            digest.take(chunk)
            watch[0](digest.nbytes)
    return digest.nbytes == file.nbytes and digest.is_right()


def refused(status: int, what: str, page: str, revision: str) -> errors.HearthError:
    """The error for an HTTP status that says no."""
    if status in (401, 404):
        at = f" at revision {revision}" if revision else ""
        return errors.UnknownModel(
            f"The hub shows no {what}{at} (HTTP {status}): {page}",
            "Check the name. A private or gated model needs your token in HF_TOKEN.",
        )
    if status == 403:
        return errors.UnknownModel(
            f"The hub does not give you {what} (HTTP 403): {page}",
            "Accept its licence on that page, and put the token of that account into HF_TOKEN.",
        )
    return errors.NotReachable(
        f"The hub answers HTTP {status} for {what}: {page}", "Try again later."
    )


def _read_on(url: str, headers: dict[str, str], file: HubFile, part: Path, watch: Watch) -> _Digest:
    """Appends what is missing, and returns the digest of all of it."""
    digest = _Digest(file)
    with open(part, "ab+", buffering=0) as out:
        digest.take_file(out, watch)
        if digest.nbytes > file.nbytes:
            _begin_again(out, digest)
        if digest.nbytes < file.nbytes:
            with _open(url, headers, digest.nbytes) as reply:
                if digest.nbytes and reply.status != 206:
                    _begin_again(out, digest)  # this server knows no ranges
                _check_range(reply, digest.nbytes)
                _copy(reply, out, digest, watch)
        os.fsync(out.fileno())
    return digest


def _open(url: str, headers: dict[str, str], start: int) -> Any:
    wanted = {**headers, "Accept-Encoding": "identity"}
    if start:
        wanted["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=wanted)
    return _opener().open(request, timeout=_READ_TIMEOUT_S)


def _check_range(reply: Any, start: int) -> None:
    given = reply.headers.get("Content-Range", "")
    if reply.status == 206 and not given.startswith(f"bytes {start}-"):
        raise http.client.HTTPException(f"asked for bytes from {start}, was given {given!r}")


def _copy(reply: Any, out: IO[bytes], digest: _Digest, watch: Watch) -> None:
    while digest.nbytes <= digest.file.nbytes:
        _stop_if_asked(watch)
        chunk = reply.read1(_CHUNK_BYTES)
        if not chunk:
            break
        _write(out, chunk)
        digest.take(chunk)
        watch[0](digest.nbytes)
    if digest.nbytes < digest.file.nbytes:
        raise http.client.IncompleteRead(b"", digest.file.nbytes - digest.nbytes)


def _write(out: IO[bytes], chunk: bytes) -> None:
    try:
        out.write(chunk)
    except OSError as error:  # trying again would not help
        raise errors.BadRequest(
            f"{out.name} cannot be written: {error.strerror or error}.",
            "Make room on that disk, or take another folder; what has come is kept.",
        ) from error


def _begin_again(out: IO[bytes], digest: _Digest) -> None:
    out.truncate(0)
    digest.begin()


def _compare(digest: _Digest, file: HubFile, part: Path) -> None:
    if digest.nbytes == file.nbytes and digest.is_right():
        return
    part.unlink()
    if digest.nbytes != file.nbytes:
        what = f"{file.name} has {amount(digest.nbytes)} or more, the hub lists {file.nbytes} bytes"
    else:
        what = f"{file.name} does not have the digest that the hub lists: {digest.wanted}"
    raise errors.BadModel(
        f"{what}. It was thrown away.", "Run it again; if it stays so, the mirror is broken."
    )


def _stop_if_asked(watch: Watch) -> None:
    if watch[1].is_set():
        raise errors.Cancelled("The download was cancelled.", "What has come is kept.")


class _Digest:
    """What the hub knows a file by: sha256, or for small ones git's own sha1."""

    def __init__(self, file: HubFile) -> None:
        self.file = file
        self.wanted = file.sha256 or file.blob_id
        self.begin()

    def begin(self) -> None:
        self.nbytes = 0
        self._hash = hashlib.sha256() if self.file.sha256 else hashlib.sha1(usedforsecurity=False)
        if not self.file.sha256:
            self._hash.update(b"blob %d\0" % self.file.nbytes)

    def take(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.nbytes += len(chunk)

    def take_file(self, file: IO[bytes], watch: Watch) -> None:
        """What an earlier attempt left."""
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            _stop_if_asked(watch)
            self.take(chunk)

    def is_right(self) -> bool:
        return self._hash.hexdigest() == self.wanted


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To another host without credentials, and never from https to something less."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise urllib.error.URLError(f"it leads from https to {after.scheme}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and after.netloc != before.netloc:
            request.remove_header("Authorization")
        return request


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects())
