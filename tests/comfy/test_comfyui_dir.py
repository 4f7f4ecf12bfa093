"""Says whether the nodes were tried in a real ComfyUI."""

import os
from pathlib import Path

import pytest


def test_comfyui_dir_names_checkouts() -> None:
    named = os.environ.get("COMFYUI_DIR", "")
    if not named:
        pytest.skip("COMFYUI_DIR is not set: the nodes were not tried in a real ComfyUI")
    for path in named.split(os.pathsep):
        assert (Path(path) / "main.py").is_file(), f"{path} is no checkout of ComfyUI"
