"""Put hearth's nodes into a ComfyUI, or take them out.

A link into custom_nodes, so that an update of hearth is an update of the nodes; --copy where links
do not reach. Without a folder the ComfyUIs of this machine are looked for. Nothing is installed
into ComfyUI's Python but with --install-msgpack. Only what this command put there is ever removed:
a copy that holds files of yours stays until you have moved them away.
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
    '"was": where a link led that is gone, "python", "msgpack": true, false or null}, …]}`'
)
NAME = "hearth"
_MARK = ".hearth-copied"  # in a copy: its version, then a line for each file that was put there
_PACKAGED = "share/hearth/python/hearth"  # where a distribution's package has the nodes
# ComfyUI passes over names that end so
_PART, _ASIDE = ".hearth.part.disabled", ".hearth.old.disabled"
_NAMED = 5
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
            told = _remove(target)
        else:
            told = _put(target, options.copy, machine, str(path))
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


def _put(target: Path, copy: bool, machine: Machine, comfy: str) -> dict[str, Any]:
    others = [path for path, _ in comfy_places.packs_of(machine, comfy) if Path(path) != target]
    if others:
        raise errors.BadRequest(
            f"There are nodes of hearth in {', '.join(others)} already.",
            "Two packs of the same nodes disturb each other: remove that one first.",
        )
    origin = source()
    is_there = os.path.realpath(target) == os.path.realpath(origin)
    if is_there and not (copy and target.is_symlink()):  # also: this very command runs from it
        return {"action": "kept"}
    was = _replaceable(target)
    part = target.with_name(_PART)
    _delete(part)
    if copy:
        _copy(origin, part)
    else:
        part.symlink_to(origin, target_is_directory=True)
    _swap_in(part, target)
    return {"action": "copied" if copy else "linked", **was}


def _copy(origin: Path, part: Path) -> None:
    """Marked before it is whole, so that what an interruption leaves is known as ours."""
    try:
        part.mkdir()
        (part / _MARK).write_text(f"{VERSION}\n", encoding="utf-8")
        shutil.copytree(origin, part, ignore=_LEFT_OUT, symlinks=True, dirs_exist_ok=True)
        lines = [VERSION, *_files_in(part)]
        (part / _MARK).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not isinstance(error, shutil.Error):
            raise
        failed = error.args[0]
        first = failed[0][2] if isinstance(failed, list) else failed
        count = f" ({len(failed)} files)" if isinstance(failed, list) else ""
        raise errors.BadRequest(
            f"{origin} cannot be copied{count}: {first}.", "What was there before is as it was."
        ) from error


def _swap_in(part: Path, target: Path) -> None:
    """What was there is deleted last: at every moment a whole pack lies here."""
    aside = target.with_name(_ASIDE)
    _delete(aside)
    had_one = os.path.lexists(target)
    if had_one:
        target.rename(aside)
    try:
        part.rename(target)
    except OSError:
        if had_one:
            aside.rename(target)
        raise
    _delete(aside)


def _remove(target: Path) -> dict[str, Any]:
    if not os.path.lexists(target):
        return {"action": "absent"}
    was = _replaceable(target)
    _delete(target)
    return {"action": "removed", **was}


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _replaceable(target: Path) -> dict[str, str]:
    """Where it leads, if it is a link. Raises BadRequest if anything of the user's is lost."""
    if not os.path.lexists(target):
        return {}
    if target.is_symlink():
        leads = os.readlink(target)
        if not _is_our_link(target, leads):
            raise errors.BadRequest(
                f"{target} leads to {leads}, and this command did not make it.",
                "Remove it yourself.",
            )
        return {"was": leads}
    if not (target / _MARK).exists():
        raise errors.BadRequest(
            f"{target} is there, and this command did not make it.", "Move it away first."
        )
    put = set((target / _MARK).read_text(encoding="utf-8").splitlines()[1:])
    origin = source()
    yours = [name for name in _files_in(target) if name not in put and not (origin / name).exists()]
    if yours:
        more = f" and {len(yours) - _NAMED} more" if len(yours) > _NAMED else ""
        raise errors.BadRequest(
            f"{target} holds files that this command did not put there: "
            f"{', '.join(yours[:_NAMED])}{more}.",
            "Move them out of it first: they would be lost.",
        )
    return {}


def _is_our_link(target: Path, leads: str) -> bool:
    """A link to a pack of ours; of those to nowhere, only to where this command leads them. Others
    lead to a disk that is not mounted."""
    inside = [target / below / "comfy_api.py" for below in ("client_py/hearth", "")]
    if any(path.exists() for path in inside):
        return True
    return Path(leads) == source() or f"/{leads}".endswith(f"/{_PACKAGED}")


def _files_in(folder: Path) -> list[str]:
    """Paths of files and links below it, but our mark and what Python leaves there."""
    found = []
    for at, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in [*links, *names]:
            path = os.path.relpath(os.path.join(at, name), folder)
            if path != _MARK and not name.endswith(".pyc"):
                found.append(path)
    return sorted(found)


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
        why = getattr(error, "strerror", None) or error
        raise errors.BadRequest(
            f"{python} cannot be run: {why}.", "Name another one with --python."
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
    if one.get("was"):
        said += f"; it led to {one['was']}"
    is_changed = one["action"] not in ("kept", "absent")
    out.print(f"{said}. Restart ComfyUI." if is_changed else f"{said}.", markup=False)
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
