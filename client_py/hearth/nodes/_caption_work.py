"""One run over a folder of pictures: asks for captions, writes them, keeps what is to be said."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .. import errors, presets
from . import _caption_files as files
from ._sampling import sampling_of
from ._schema import chosen

if TYPE_CHECKING:
    from pathlib import Path

    from ..replies import Reply
    from ._answer import Screen
    from ._models import Lent

T = TypeVar("T")
SKIP, OVERWRITE = "skip", "overwrite"  # what to do with pictures that have a text
_MOST_PROBLEMS = 20
_MOST_NAMED = 3  # pictures that a note lists


async def in_thread(act: Callable[..., T], *arguments: Any) -> T:
    """Reading and writing files must not stop the answers that are on their way."""
    import asyncio  # not while ComfyUI starts

    return await asyncio.to_thread(act, *arguments)


@dataclass
class Work:
    """One run. captions: by index of the picture. problems: a line for each picture without a text.
    notes: what is to be known of texts that were written or not, and the pictures' names."""

    lent: Lent
    inputs: dict[str, Any]
    folder: Path
    screen: Screen
    total: int
    captions: dict[int, tuple[str, Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    made: int = 0
    done: int = 0

    async def caption(self, job: files.Job) -> None:
        """Asks for one picture and writes its text file. What is wrong with this picture only is
        noted."""
        name = job.picture.relative_to(self.folder).as_posix()
        problem = await self._problem_of(job, name)
        if problem:
            self.problems.append(f"{name}: {problem}")
        self.done += 1
        self.screen.advance(self.done, f"{self.done} of {self.total}: {name}")

    async def _problem_of(self, job: files.Job, name: str) -> str:
        """Captions the picture. Why it has no text; empty when it has one."""
        try:
            reply = await self._reply(job)
            if problem := self._look_at(reply, name):
                return problem
            prefix, suffix = (job.filled(self.inputs[name]) for name in ("prefix", "suffix"))
            text = f"{prefix}{reply.text.strip()}{suffix}"
            await self._write(job, text)
        except OSError as error:  # also what Pillow raises for what is no picture
            return error.strerror or str(error)
        except errors.HearthError as error:
            if error.code not in errors.ABOUT_ONE_PICTURE:
                raise
            return str(error)
        self.captions[job.index] = (text, job.picture)
        self.made += 1
        return ""

    async def _reply(self, job: files.Job) -> Reply:
        from ..picture_files import load_picture

        picture = await in_thread(load_picture, job.picture)
        chat = [{"role": "user", "content": [picture, job.filled(_question(self.inputs))]}]
        sampling = {**sampling_of(self.inputs), "priority": "batch"}
        return await self.lent.service.generate(
            self.lent.model, chat, reuse=True, interrupted=self.screen.poll, **sampling
        )

    async def _write(self, job: files.Job, text: str) -> None:
        """Raises OSError for what is wrong with this text only, BadRequest for what meets all."""
        try:
            await in_thread(files.write, job, text)
        except errors.BadRequest as error:
            so_far = f"{self.made} of {self.total} pictures were captioned, and their texts stay."
            goes_on = self.inputs["existing"] == SKIP
            then = "Then run this again: it goes on where it stopped." if goes_on else ""
            raise error.reworded(f"{error.what} {so_far}", f"{error.hint} {then}") from error

    def _look_at(self, reply: Reply, name: str) -> str:
        """Notes what is to be known of the answer. Why it is no caption; empty when it is one."""
        for warning in reply.warnings:
            self._note(warning, name)
        if not reply.text.strip():
            return "the answer has no text"
        if reply.stop_reason == "max_tokens":
            most = self.inputs["max_tokens"]
            self._note(f"cut at max_tokens ({most}): raise it, or ask for less.", name)
        return ""

    def _note(self, what: str, name: str) -> None:
        self.notes.setdefault(what, []).append(name)

    def summary(self, skipped: int, left: int) -> str:
        """What was done, what was not and why, and what is to be known; notes are logged as well.

        skipped: pictures that had a text    left: pictures that the limit left for another run
        """
        parts = [f"{self.made} captioned", f"{skipped} had a text already"]
        if left:
            parts.append(f"{left} left for the next run (limit)")
        if self.problems:
            parts.append(f"{len(self.problems)} not captioned:")
        lines = [f"{self.folder}: " + ", ".join(parts), *self.problems[:_MOST_PROBLEMS]]
        if len(self.problems) > _MOST_PROBLEMS:
            lines.append(f"… and {len(self.problems) - _MOST_PROBLEMS} more")
        notes = [f"Note: {remark}" for remark in self.lent.remarks]
        notes += [f"Note for {_named(names)}: {what}" for what, names in self.notes.items()]
        for note in notes:
            logging.warning("hearth: %s", note)
        return "\n".join([*lines, *notes])


def _named(names: list[str]) -> str:
    names = sorted(names)
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{len(names)} pictures ({', '.join(names[:_MOST_NAMED])}, …)"


def _question(inputs: dict[str, Any]) -> str:
    own = str(inputs["custom_prompt"])
    if own.strip():
        return own
    return chosen(presets.QUESTIONS, inputs["preset_prompt"], "preset_prompt")
