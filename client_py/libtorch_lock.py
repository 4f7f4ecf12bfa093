"""Writes hearth/libtorch/wheels.json: the files that `hearth setup` brings, with their digests.

    build/venv/bin/python client_py/libtorch_lock.py

The versions are those that the build uses: .ci/prepare.sh has torch's and the two of a machine
without a GPU; the others are what that torch requires. The environment that runs this must have all
of them installed, because that is where the sizes on disk are known from.
"""

import fnmatch
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "client_py/hearth/libtorch/wheels.json"

# What of each is unpacked. libtorch_python and what only it needs is for Python programs.
LICENCES = ["*.dist-info/*LICENSE*", "*.dist-info/*License*", "*.dist-info/*NOTICE*"]
LIBRARIES = ["torch/lib/*.so*", "nvidia/*/lib/*.so*"]
NEVER = ["*/libtorch_python.so", "*/libshm.so", "*/libtorch_global_deps.so"]
CPU = {
    "torch": ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp*"],
    "nvidia-cuda-runtime": ["*/libcudart.so.*"],
    "nvidia-cuda-cupti": ["*/libcupti.so.*"],
}


def main() -> None:
    prepare = (ROOT / ".ci/prepare.sh").read_text()
    torch_version = re.search(r"^torch_version=(\S+)", prepare, re.M)[1]
    names = ["torch", *nvidia_wheels()]
    installed = {name: importlib.metadata.distribution(name) for name in names}
    if installed["torch"].version.partition("+")[0] != torch_version:
        sys.exit(f"{installed['torch'].version} is installed, prepare.sh has {torch_version}")
    wheels = [wheel(found, installed) for found in resolve(installed)]
    wheels.sort(key=lambda wheel: wheel["project"])
    lock = {"version": torch_version, "wheels": wheels}
    LOCK.write_text(json.dumps(lock, indent=1) + "\n")


def nvidia_wheels() -> list[str]:
    """The libraries that torch's CUDA part is linked with, or opens."""
    named = [*importlib.metadata.requires("torch"), *importlib.metadata.requires("cuda-toolkit")]
    wanted = {re.match(r"[\w-]+", line)[0] for line in named if line.startswith("nvidia-")}
    have = {found.metadata["Name"] for found in importlib.metadata.distributions()}
    return sorted(wanted & have)


def resolve(installed: dict) -> list[dict]:
    """Where the package index keeps exactly these, by pip."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        command += ["--no-deps", "--only-binary", ":all:", "--report", report.name]
        command += [f"{name}=={found.version}" for name, found in installed.items()]
        subprocess.run(command, check=True)
        return json.load(report)["install"]


def wheel(found: dict, installed: dict) -> dict:
    url = found["download_info"]["url"]
    project = re.sub(r"[-_.]+", "-", found["metadata"]["name"]).lower()
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as reply:
        nbytes = int(reply.headers["Content-Length"])
    keep = {"cuda": [*LIBRARIES, *LICENCES]}
    if project in CPU:
        keep["cpu"] = [*CPU[project], *LICENCES]
    return {
        "project": project,
        "version": found["metadata"]["version"],
        "url": url,
        "sha256": found["download_info"]["archive_info"]["hashes"]["sha256"],
        "bytes": nbytes,
        "keep": keep,
        "leave": NEVER,
        "unpacked_bytes": {name: unpacked(installed[project], keep[name]) for name in keep},
    }


def unpacked(distribution, patterns: list[str]) -> int:
    total = 0
    for file in distribution.files:
        matches = any(fnmatch.fnmatch(str(file), pattern) for pattern in patterns)
        if matches and not any(fnmatch.fnmatch(str(file), pattern) for pattern in NEVER):
            total += file.size or 0
    return total


if __name__ == "__main__":
    main()
