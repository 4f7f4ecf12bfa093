"""Put hearth's nodes into a ComfyUI, or take them out.

A link into custom_nodes, so that an update of hearth is an update of the nodes; --copy where links
do not reach. Without a folder the ComfyUIs of this machine are looked for. Nothing is installed
into ComfyUI's Python but with --install-msgpack. Only what this command put there is ever removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .. import comfy_places, errors
from ..doctor.machine import Machine
from ..version import VERSION
from .output import answers, print_json, problems
from .tree import completes

EXAMPLES = (
    ("hearth install-nodes", "into the ComfyUI that is found, if it is one"),
    ("hearth install-nodes ~/ComfyUI --copy", "a copy instead of a link"),
    ("hearth install-nodes ~/ComfyUI --remove", "out again"),
)
JSON = (
    '`{"done": [{"comfyui", "pack", "action": "linked", "copied", "kept", "removed" or "absent", '
    '"python", "msgpack": true, false or null}, …]}`'
)
NAME = "hearth"
_MARK = ".hearth-copied"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", "build", "tests")
_LIMIT_S = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and how."""
    folder = parser.add_argument(
        "comfyui",
        nargs="*",
        type=Path,
        metavar="COMFYUI",
        help="its folder; default: the one there is",
    )
    completes(folder, "folders")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_true", help="copy the nodes instead of linking them")
    how.add_argument("--remove", action="store_true", help="take out what this command put there")
    parser.add_argument("--python", metavar="FILE", help="ComfyUI's Python; default: looked for")
    parser.add_argument(
        "--install-msgpack", action="store_true", help="run its pip where msgpack is missing"
    )


def run(options: argparse.Namespace) -> int:
    """Each ComfyUI in turn."""
    machine = Machine()
    done = []
    for comfy in options.comfyui or _found(machine):
        path = Path(os.path.abspath(comfy))
        if not comfy_places.is_comfy(machine, str(path)):
            raise errors.BadRequest(
                f"{path} is no ComfyUI: it lacks main.py, nodes.py, comfy or custom_nodes.",
                "Name the folder that holds ComfyUI's main.py.",
            )
        target = path / comfy_places.COMFY_PACKS / NAME
        if options.remove:
            told: dict[str, Any] = {"action": _remove(target)}
        else:
            told = {"action": _put(target, options.copy, machine, str(path))}
            told.update(_python(machine, str(path), options))
        done.append({"comfyui": str(path), "pack": str(target), **told})
    if options.json:
        print_json({"done": done})
    else:
        for one in done:
            _print(one)
    return 0


def source() -> Path:
    """What is put there: this repository where we are in one, else the package alone."""
    package = Path(__file__).resolve().parents[1]
    tree = package.parents[1]
    return tree if (tree / "__init__.py").exists() and (tree / "client_py").exists() else package


def _found(machine: Machine) -> list[str]:
    found = comfy_places.find_comfys(machine)
    if len(found) == 1:
        return found
    if not found:
        raise errors.BadRequest(
            "No ComfyUI was found.", "Name its folder: hearth install-nodes /path/to/ComfyUI"
        )
    raise errors.BadRequest(
        f"There are {len(found)} ComfyUIs: {', '.join(found)}.", "Name one, or several."
    )


def _put(target: Path, copy: bool, machine: Machine, comfy: str) -> str:
    others = [path for path, _ in comfy_places.packs_of(machine, comfy) if Path(path) != target]
    if others:
        raise errors.BadRequest(
            f"There are nodes of hearth in {', '.join(others)} already.",
            "Two packs of the same nodes disturb each other: remove that one first.",
        )
    origin = source()
    if target.is_symlink() or target.exists():
        if not _is_ours(target):
            if Path(os.path.realpath(target)) == origin:
                return "kept"
            raise errors.BadRequest(
                f"{target} is there, and this command did not make it.", "Move it away first."
            )
        if target.is_symlink() and not copy and Path(os.path.realpath(target)) == origin:
            return "kept"
        _remove(target)
    if copy:
        shutil.copytree(origin, target, ignore=_LEFT_OUT, symlinks=True)
        (target / _MARK).write_text(VERSION, encoding="utf-8")
        return "copied"
    target.symlink_to(origin, target_is_directory=True)
    return "linked"


def _remove(target: Path) -> str:
    if not target.is_symlink() and not target.exists():
        return "absent"
    if not _is_ours(target):
        raise errors.BadRequest(
            f"{target} was not made by this command, so it stays.", "Remove it yourself."
        )
    if target.is_symlink():
        target.unlink()
    else:
        shutil.rmtree(target)
    return "removed"


def _is_ours(target: Path) -> bool:
    """A copy with our mark, or a link to a pack of ours or to nowhere."""
    if not target.is_symlink():
        return (target / _MARK).exists()
    inside = [target / below / "comfy_api.py" for below in ("client_py/hearth", "")]
    return not target.exists() or any(path.exists() for path in inside)


def _python(machine: Machine, comfy: str, options: argparse.Namespace) -> dict[str, Any]:
    pythons = [options.python] if options.python else comfy_places.pythons_of(machine, comfy)
    if not pythons:
        return {"python": None, "msgpack": None}
    python = pythons[0]
    has = _has_msgpack(python)
    if not has and options.install_msgpack:
        problems().print(f"{python} -m pip install msgpack", markup=False)
        subprocess.run([python, "-m", "pip", "install", "msgpack"], check=False)
        has = _has_msgpack(python)
    return {"python": python, "msgpack": has}


def _has_msgpack(python: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import msgpack"], capture_output=True, timeout=_LIMIT_S, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.BadRequest(
            f"{python} cannot be run: {error}.", "Name it with --python."
        ) from error
    return done.returncode == 0


def _print(one: dict[str, Any]) -> None:
    out = answers()
    said = {
        "linked": f"{one['pack']} leads to {source()}",
        "copied": f"{one['pack']} is a copy of version {VERSION}",
        "kept": f"{one['pack']} is there already",
        "removed": f"{one['pack']} is removed",
        "absent": f"{one['pack']} was not there",
    }[one["action"]]
    out.print(f"{said}. Restart ComfyUI.", markup=False)
    if "python" not in one:
        return
    if one["python"] is None:
        out.print(
            "ComfyUI's Python was not found: it needs the package msgpack, and nothing else.",
            markup=False,
        )
    elif not one["msgpack"]:
        out.print(
            f"Its Python lacks msgpack. Run: {one['python']} -m pip install msgpack",
            style="yellow", markup=False,
        )  # fmt: skip
    else:
        out.print(f"{one['python']} has msgpack.", style="dim", markup=False)
