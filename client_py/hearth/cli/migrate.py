"""Rewrite a workflow of another pack's Qwen nodes for hearth's.

Known are the nodes of ComfyUI-QwenVL (1038lab) and of SCG_LocalVLM, in workflows as a browser saves
them and in the API format. The file stays as it is; what has no equivalent is said.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import errors, migrate
from .output import answers, print_json, problems

EXAMPLES = (("hearth migrate portrait.json -o portrait.hearth.json", "the first stays as it is"),)
JSON = '`{"output": path or null, "notes": [what a user should know, …]}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The workflow, and where the new one goes."""
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="replaced where it is there (default: WORKFLOW.hearth.json, which is not)",
    )


def run(options: argparse.Namespace) -> int:
    """Writes the new workflow and says what a user should know of it."""
    workflow = _read(options.workflow)
    if isinstance(workflow.get("nodes"), list):
        made, notes = migrate.convert_graph(workflow)
    elif isinstance(workflow.get("prompt"), dict):
        prompt, notes = migrate.convert_prompt(workflow["prompt"])
        made = {**workflow, "prompt": prompt}
    else:
        made, notes = migrate.convert_prompt(workflow)
    if made == workflow:
        if options.json:
            print_json({"output": None, "notes": notes})
        else:
            answers().print(f"{options.workflow}: nothing in it is to be converted.", markup=False)
        return 0
    output = _output(options)
    # half a character, which JSON can say and UTF-8 cannot, is written as JSON says it
    text = json.dumps(made, ensure_ascii=False, indent=1) + "\n"
    output.write_text(text, encoding="utf-8", errors="backslashreplace")
    for note in notes:
        problems().print(note, markup=False)
    if options.json:
        print_json({"output": str(output), "notes": notes})
    else:
        answers().print(f"{output} is written.", markup=False)
    return 0


def _output(options: argparse.Namespace) -> Path:
    """Where the new workflow goes. What was written before, and may have been worked on since, is
    replaced only when it is named."""
    output: Path = options.output or options.workflow.with_suffix(".hearth.json")
    if output.exists() and output.samefile(options.workflow):
        raise errors.BadRequest(
            f"{output} is the workflow itself, which stays as it is.", "Name another file with -o."
        )
    if output.exists() and not options.output:
        raise errors.BadRequest(
            f"{output} is there already.", f"Name another file, or replace it: -o {output}."
        )
    return output


def _read(path: Path) -> dict[str, Any]:
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest(f"{path} is no JSON: {error}.", "Save one from ComfyUI.") from error
    nodes = workflow.get("nodes") if isinstance(workflow, dict) else 0
    odd = isinstance(nodes, list) and not all(isinstance(node, dict) for node in nodes)
    if not isinstance(workflow, dict) or odd:
        raise errors.BadRequest(f"{path} holds no workflow.", "Save one from ComfyUI.")
    return workflow
