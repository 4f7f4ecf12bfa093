"""*Batch Caption (Hearth)*: a text file beside each picture of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import errors
from . import _caption_files as files
from . import _models as models
from ._answer import Screen, show, side_by_side
from ._caption_work import OVERWRITE, SKIP, Work, in_thread
from ._question_inputs import custom_input, preset_input
from ._sampling import pixel_inputs, seed_input
from ._schema import Input, Node, Output, Shown, chosen, from_contract

if TYPE_CHECKING:
    from pathlib import Path


async def run(**inputs: Any) -> Shown:
    """Captions what has no text file yet, or everything."""
    root, output = _folders(inputs["folder"], inputs["output_folder"])
    jobs, problems = await in_thread(files.jobs_in, root, output, inputs["recursive"])
    todo, before = await in_thread(_sorted_out, jobs, inputs["existing"])
    todo = todo[: inputs["limit"] or None]
    await in_thread(files.make_folders, todo)  # before anything is asked
    async with models.lent(models.picked(inputs)) as lent:
        work = Work(lent, inputs, root, Screen(max(1, len(todo)), False), len(todo), dict(before))
        work.problems += problems
        await side_by_side([lambda job=job: work.caption(job) for job in todo], inputs["at_once"])
        work.screen.finish()
    text = work.summary(skipped=len(before), left=len(jobs) - len(before) - len(todo))
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


def fingerprint(
    folder: Any = "",
    output_folder: Any = "",
    recursive: Any = False,
    existing: Any = SKIP,
    **_constants: Any,
) -> Any:
    """The pictures that are there, and, where those with a text are skipped, their texts. Never the
    same while there is work to do: it is asked before the run, which may write them or not. None:
    an input comes by a link, and is not known yet."""
    unknown = float("nan")
    if None in (folder, output_folder, recursive, existing):
        return unknown
    try:
        root, output = _folders(str(folder), str(output_folder))
    except errors.BadRequest:
        return unknown
    state = files.state_of(root, output, bool(recursive), existing != OVERWRITE)
    return unknown if state is None else state


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
        from_contract("thinking_tokens", "INT", optional=True, advanced=True),
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
