"""Check that a model's files are whole and what they should be.

Headers of safetensors files against their sizes, the index against the files, JSON, and digests
where the hub's are known: of models that `hearth fetch-model`, the node Fetch Model or
huggingface_hub brought. Needs no service. Exit code 1: something is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rich.text import Text

from .. import model_check
from ..units import amount
from .output import answers, print_json
from .progress import ByteBar
from .tables import table
from .tree import completes

EXAMPLES = (
    ("hearth verify /models/Qwen3-VL-2B-Instruct", "all of it"),
    ("hearth verify --quick /models/Qwen3-VL-2B-Instruct", "sizes only: takes an instant"),
)
JSON = (
    '`{"model", "whole", "problems": […], "files": [{"name", "nbytes", "problem", "tensors", '
    '"digest": "right", "wrong" or "unknown"}, …]}`, a line for each model'
)
_MARKS = {
    "right": ("as the hub lists", "green"),
    "wrong": ("wrong", "red"),
    "unknown": ("unknown", "dim"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which models, and how thoroughly."""
    models = parser.add_argument(
        "models", nargs="+", type=Path, metavar="DIR|FILE", help="folder or .safetensors file"
    )
    completes(models, "files")
    parser.add_argument("--quick", action="store_true", help="read no weights: sizes and headers")


def run(options: argparse.Namespace) -> int:
    """Each of them in turn."""
    all_whole = True
    for path in options.models:
        with ByteBar() as bar:
            found = model_check.check(path, not options.quick, bar.show)
        all_whole = all_whole and found.is_whole
        if options.json:
            print_json(
                {"model": str(found.path), "whole": found.is_whole, "problems": found.problems,
                 "files": [dataclasses.asdict(file) for file in found.files]}
            )  # fmt: skip
        else:
            _print(found, options.quick)
    return 0 if all_whole else 1


def _print(found: model_check.ModelFound, quick: bool) -> None:
    out = answers()
    made = table(str(found.path), "FILE", ">SIZE", ">TENSORS", *([] if quick else ["DIGEST"]), "*")
    for file in found.files:
        made.add_row(
            Text(file.name), amount(file.nbytes), str(file.tensors or ""),
            *([] if quick else [Text(*_MARKS[file.digest])]), Text(file.problem, "red"),
        )  # fmt: skip
    out.print(made)
    for problem in found.problems:
        out.print(problem, style="red", markup=False)
    known = [file for file in found.files if file.digest == "right"]
    if not found.is_whole:
        out.print("[bold red]It is damaged or not complete.[/] Fetch what is named above again.")
    elif quick or len(known) < len(found.files):
        said = f"{len(known)} of {len(found.files)} files compared with the hub's digests"
        out.print(f"[bold green]It is whole[/], as far as sizes tell ({said}).")
    else:
        out.print("[bold green]It is whole[/], byte for byte what the hub lists.")
