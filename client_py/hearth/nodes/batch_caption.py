"""*Batch Caption (Hearth)*: a text file beside each picture of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .. import errors, presets
from . import _caption_files as files
from . import _models as models
from ._answer import Screen, show, side_by_side
from ._question_inputs import custom_input, preset_input
from ._sampling import pixel_inputs, sampling_of, seed_input
from ._schema import Input, Node, Output, Shown, chosen, from_contract

if TYPE_CHECKING:
    from pathlib import Path

    from ._models import Lent

T = TypeVar("T")
SKIP, OVERWRITE = "skip", "overwrite"
_ABOUT_ONE = ("bad_picture", "too_long", "not_finite")  # errors that leave the others possible
_MOST_NAMED = 20


async def _in_thread(act: Callable[..., T], *arguments: Any) -> T:
    """Reading and writing files must not stop the answers that are on their way."""
    import asyncio  # not while ComfyUI starts

    return await asyncio.to_thread(act, *arguments)


@dataclass
class _Work:
    """One run over a folder. captions: by index of the picture."""

    lent: Lent
    inputs: dict[str, Any]
    folder: Path
    screen: Screen
    total: int
    captions: dict[int, tuple[str, Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    made: int = 0
    done: int = 0

    async def caption(self, job: files.Job) -> None:
        """Asks for one picture and writes its text file. What is wrong with this picture only is
        noted."""
        name = job.picture.relative_to(self.folder).as_posix()
        try:
            text = await self._text(job)
            await _in_thread(files.write, job, text)
        except OSError as error:  # also what Pillow raises for what is no picture
            self.problems.append(f"{name}: {error.strerror or error}")
        except errors.HearthError as error:
            if error.code not in _ABOUT_ONE:
                raise
            self.problems.append(f"{name}: {error}")
        else:
            self.captions[job.index] = (text, job.picture)
            self.made += 1
        self.done += 1
        self.screen.advance(self.done, f"{self.done} of {self.total}: {name}")

    async def _text(self, job: files.Job) -> str:
        from ..picture_files import load_picture

        picture = await _in_thread(load_picture, job.picture)
        chat = [{"role": "user", "content": [picture, job.filled(_question(self.inputs))]}]
        sampling = {**sampling_of(self.inputs), "priority": "batch"}
        reply = await self.lent.service.generate(
            self.lent.model, chat, reuse=True, interrupted=self.screen.poll, **sampling
        )
        prefix, suffix = (job.filled(self.inputs[name]) for name in ("prefix", "suffix"))
        return f"{prefix}{reply.text.strip()}{suffix}"


async def run(**inputs: Any) -> Shown:
    """Captions what has no text file yet, or everything."""
    root, output = _folders(inputs["folder"], inputs["output_folder"])
    jobs, problems = await _in_thread(files.jobs_in, root, output, inputs["recursive"])
    todo, before = await _in_thread(_sorted_out, jobs, inputs["existing"])
    todo = todo[: inputs["limit"] or None]
    async with models.lent(models.picked(inputs)) as lent:
        work = _Work(lent, inputs, root, Screen(max(1, len(todo)), False), len(todo), dict(before))
        work.problems += problems
        await side_by_side([lambda job=job: work.caption(job) for job in todo], inputs["at_once"])
        work.screen.finish()
    text = _summary(work, skipped=len(before), left=len(jobs) - len(before) - len(todo))
    show(text)
    in_order = [work.captions[index] for index in sorted(work.captions)]
    captions, paths = [one for one, _ in in_order], [str(path) for _, path in in_order]
    return Shown((text, captions, paths), text)


def _folders(folder: str, output_folder: str) -> tuple[Path, Path | None]:
    if not folder.strip():
        raise errors.BadRequest(
            "folder is empty.",
            "Name a folder of pictures: a whole path, or one in ComfyUI's input folder.",
        )
    output = files.folder_named(output_folder, "output_folder") if output_folder.strip() else None
    return files.folder_named(folder, "folder"), output


def _sorted_out(
    jobs: list[files.Job], existing: str
) -> tuple[list[files.Job], dict[int, tuple[str, Path]]]:
    """What is to do, and the captions that are there already."""
    chosen({SKIP: "", OVERWRITE: ""}, existing, "existing")
    if existing == OVERWRITE:
        return jobs, {}
    texts = {job.index: files.written(job) for job in jobs}
    todo = [job for job in jobs if texts[job.index] is None]
    there = {
        job.index: (text, job.picture) for job in jobs if (text := texts[job.index]) is not None
    }
    return todo, there


def _question(inputs: dict[str, Any]) -> str:
    own = str(inputs["custom_prompt"])
    if own.strip():
        return own
    return chosen(presets.QUESTIONS, inputs["preset_prompt"], "preset_prompt")


def _summary(work: _Work, skipped: int, left: int) -> str:
    parts = [f"{work.made} captioned", f"{skipped} had a text already"]
    if left:
        parts.append(f"{left} left for the next run (limit)")
    if work.problems:
        parts.append(f"{len(work.problems)} not captioned:")
    lines = [f"{work.folder}: " + ", ".join(parts), *work.problems[:_MOST_NAMED]]
    more = len(work.problems) - _MOST_NAMED
    return "\n".join([*lines, f"… and {more} more"] if more > 0 else lines)


def fingerprint(
    folder: Any = "",
    output_folder: Any = "",
    recursive: Any = False,
    existing: Any = SKIP,
    **_constants: Any,
) -> Any:
    """The pictures that are there, and, where those with a text are skipped, their texts."""
    try:
        root, output = _folders(str(folder or ""), str(output_folder or ""))
    except errors.BadRequest:
        return float("nan")
    return files.state_of(root, output, bool(recursive), existing != OVERWRITE)


NODE = Node(
    node_id="HearthBatchCaption",
    display_name="Batch Caption (Hearth)",
    category="Hearth/text",
    description="Writes a .txt file for each picture of a folder, several at once. Pictures that"
    " have one are skipped, so a run that was stopped goes on where it was; what cannot be read is"
    " named, and the rest goes on.",
    inputs=(
        models.llm_input(),
        models.model_input(),
        Input(
            "folder",
            "STRING",
            "The pictures' folder: a whole path, or the name of one in ComfyUI's input folder.",
            {"default": "", "placeholder": "/data/pictures"},
        ),
        preset_input(),
        custom_input(),
        Input(
            "prefix",
            "STRING",
            "Goes before each caption, such as a trigger word. {name}, {folder} and {index} are"
            " filled in, here, in suffix and in custom_prompt.",
            {"default": ""},
        ),
        Input("suffix", "STRING", "Goes after each caption.", {"default": ""}),
        Input(
            "existing",
            "COMBO",
            "Pictures that have a text file: skip them, or write it anew.",
            {"default": SKIP},
            choices=lambda: (SKIP, OVERWRITE),
        ),
        Input("recursive", "BOOLEAN", "Also pictures in folders below.", {"default": False}),
        from_contract("max_tokens", "INT"),
        from_contract("temperature", "FLOAT"),
        seed_input(),
        models.keep_loaded_input(),
        Input(
            "output_folder",
            "STRING",
            "Where the text files go, in the same folders as the pictures. A whole path, or a name"
            " in ComfyUI's output folder. Empty: beside each picture.",
            {"default": ""},
            optional=True,
        ),
        Input(
            "limit",
            "INT",
            "At most so many pictures in one run; 0: all.",
            {"default": 0, "min": 0, "max": 1000000},
            optional=True,
        ),
        Input(
            "at_once",
            "INT",
            "Pictures that are asked about together: the service batches them.",
            {"default": 8, "min": 1, "max": 32, "advanced": True},
            optional=True,
        ),
        models.precision_input(),
        *pixel_inputs(),
        from_contract("top_p", "FLOAT", optional=True, advanced=True),
        from_contract("top_k", "INT", optional=True, advanced=True),
        from_contract("repetition_penalty", "FLOAT", optional=True, advanced=True),
        from_contract("thinking", "COMBO", optional=True, advanced=True),
        models.download_input(),
    ),
    outputs=(
        Output("summary", "STRING", "What was done, and what could not be."),
        Output("captions", "STRING", "All captions there are, in paths' order.", is_list=True),
        Output("paths", "STRING", "The pictures they belong to.", is_list=True),
    ),
    run=run,
    validate=models.validate,
    fingerprint=fingerprint,
    search_aliases=("caption", "dataset", "folder", "lora", "training", "txt", "batch"),
)
