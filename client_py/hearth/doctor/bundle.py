"""One file for a report of a fault: findings, status, log and devices, redacted.

Everything passes a Redactor; the file says in its README what was left out. Two bundles of the same
parts are equal bytes.
"""

from __future__ import annotations

import contextlib
import getpass
import gzip
import io
import json
import os
import pwd
import socket
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..version import VERSION
from .machine import Machine
from .redact import Redactor

_README = """What `hearth doctor --bundle` found on a machine.

Left out: prompts and answers, tokens and keys, everything below home directories and outside the
system's own folders, names of users and hosts, network addresses, serial numbers. Names of models
that status, requests or settings tell are replaced, each by the same word everywhere. All of it
is done by rules, which can miss something: look at the files before you send this to anybody.
"""
_FIRST_PERSON, _NOBODY = 1000, 65534


def redactor_of_this_machine(said: Mapping[str, Any]) -> Redactor:
    """Knows the people of this machine, its name, where they live, and the models in `said`."""
    people = [one for one in pwd.getpwall() if _FIRST_PERSON <= one.pw_uid < _NOBODY]
    users = [one.pw_name for one in people]
    users += [part for one in people for part in one.pw_gecos.split(",")[0].split()]
    with contextlib.suppress(KeyError, OSError):
        users.append(getpass.getuser())
    host = socket.gethostname()
    homes = [os.path.expanduser("~"), *(one.pw_dir for one in people)]
    return Redactor(users, [host, host.partition(".")[0]], homes, models_of(said))


def models_of(said: Mapping[str, Any]) -> set[str]:
    """Names and paths of models in the service's answers: `status`, `requests` and `config`."""
    status, requests = said.get("status", {}), said.get("requests", {}).get("requests", [])
    named = [*status.get("models", []), *status.get("quarantined", []), *requests]
    found = {one.get("name", "") for one in named}
    found |= {one.get("model", "") for one in status.get("last_errors", [])}
    for record in requests:
        found.update((record.get("receipt") or {}).get("evicted", []))
    for setting in said.get("config", {}).get("values", []):
        section, _, rest = setting["key"].partition(".")
        if section == "model":
            name, _, last = rest.rpartition(".")
            found |= {name, setting["value"].strip("\"'")} if last == "path" else {name}
    return found - {""}


def gather(machine: Machine, said: Mapping[str, Any], log: str) -> dict[str, str]:
    """The files by name, not yet redacted. `said`: what is JSON, by name."""
    files = {f"{name}.json": json.dumps(value, indent=1) for name, value in said.items()}
    files["log.txt"] = log
    files["versions.txt"] = "\n".join(
        [
            f"hearth {VERSION}", f"python {sys.version}",
            (machine.read("/proc/version") or "").strip(),
            (machine.read("/etc/os-release") or "").strip(),
            (machine.read("/proc/driver/nvidia/version") or "no NVIDIA driver").strip(),
        ]
    )  # fmt: skip
    devices = machine.run("nvidia-smi", "-q")
    if devices:
        files["nvidia-smi.txt"] = devices
    return files


def write(path: Path, files: Mapping[str, str], redactor: Redactor) -> list[str]:
    """Writes the bundle and returns the names of what is in it."""
    whole = {"README.txt": _README, **{n: _redacted(n, t, redactor) for n, t in files.items()}}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in whole.items():
            raw = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"hearth-doctor/{name}")
            entry.size, entry.mode = len(raw), 0o600
            archive.addfile(entry, io.BytesIO(raw))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(gzip.compress(packed.getvalue(), mtime=0))
    return list(whole)


def _redacted(name: str, text: str, redactor: Redactor) -> str:
    if name.endswith(".json"):
        return json.dumps(redactor.value(json.loads(text)), indent=1, ensure_ascii=False)
    return redactor.text(text)
