"""ComfyUIs on this machine, the packs of ours in them, and the Pythons they run with.

Looked at through doctor.machine.Machine; nothing is imported and nothing changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .doctor.machine import Machine

COMFY_PACKS = "custom_nodes"
_PARTS = {"main.py", "nodes.py", "comfy", COMFY_PACKS}
_BELOW_HOME = ("ComfyUI", "comfyui", "comfy/ComfyUI", "Documents/ComfyUI", "ai/ComfyUI")
_ELSEWHERE = ("/opt/ComfyUI", "/workspace/ComfyUI", "/ComfyUI")
_VERSION = re.compile(r'^VERSION = "([^"]*)"', re.M)
# where our version stands in a pack: a clone of the repository, or a copy of the package alone
_VERSION_FILES = ("client_py/hearth/version.py", "version.py")
_PYTHONS = ("venv/bin/python", ".venv/bin/python", "../venv/bin/python", "../.venv/bin/python")


def is_comfy(machine: Machine, path: str) -> bool:
    """Whether a ComfyUI lies there."""
    return set(machine.names(path)) >= _PARTS


def find_comfys(machine: Machine) -> list[str]:
    """Those that $COMFYUI_DIR names, that run, around the current folder, and at usual places."""
    named = machine.env.get("COMFYUI_DIR", "").split(":")
    here = machine.cwd
    around = []
    while here and here != "/":
        around += [here, f"{here}/ComfyUI"]
        here = here.rpartition("/")[0]
    usual = [f"{machine.home}/{below}" for below in _BELOW_HOME]
    candidates = [*named, *(cwd for _, cwd in _running(machine)), *around, *usual, *_ELSEWHERE]
    found: dict[str, str] = {}
    for path in candidates:
        if path and is_comfy(machine, path):
            found.setdefault(machine.real(path), path)
    return list(found)


def packs_of(machine: Machine, comfy: str) -> list[tuple[str, str]]:
    """(folder, version) of the packs of ours that a ComfyUI has; version "" where it says none."""
    found = []
    for name in machine.names(f"{comfy}/{COMFY_PACKS}"):
        if name.endswith(".disabled"):  # ComfyUI passes over them
            continue
        path = f"{comfy}/{COMFY_PACKS}/{name}"
        for file in _VERSION_FILES:
            inside = f"{path}/{file}".rpartition("/")[0]
            said = machine.read(f"{path}/{file}")
            if said is not None and "comfy_api.py" in machine.names(inside):
                version = _VERSION.search(said)
                found.append((path, version[1] if version else ""))
                break
    return found


def pythons_of(machine: Machine, comfy: str) -> list[str]:
    """Pythons that a ComfyUI may run with: of its process, or of an environment in it."""
    real = machine.real(comfy)
    running = [python for python, cwd in _running(machine) if machine.real(cwd) == real and python]
    beside = [f"{comfy}/{path}" for path in _PYTHONS]
    return list(dict.fromkeys([*running, *(path for path in beside if machine.state(path))]))


def _running(machine: Machine) -> list[tuple[str, str]]:
    """(Python, folder) of processes that run a ComfyUI's main.py."""
    found = []
    for pid in machine.names("/proc"):
        if not pid.isdigit():
            continue
        words = (machine.read(f"/proc/{pid}/cmdline") or "").split("\0")
        main = next((word for word in words[1:] if word.endswith("main.py")), "")
        if main and "python" in words[0]:
            cwd = machine.link(f"/proc/{pid}/cwd")
            folder = main.rpartition("/")[0] if main.startswith("/") else cwd
            python = words[0] if words[0].startswith("/") else machine.link(f"/proc/{pid}/exe")
            found.append((python, folder))
    return found
