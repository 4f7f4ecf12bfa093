"""The tarball works wherever it is unpacked, and says what it lacks."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from installed import draw_picture, running, wait_for
from release import BUILD, Made

from hearth import libtorch


@pytest.fixture(scope="module")
def tree(made: Made, tmp_path_factory) -> Path:
    """Unpacked in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("some where else")
    with tarfile.open(made.tarball) as archive:
        archive.extractall(folder)
    return next(folder.iterdir())


@pytest.fixture
def environment(tmp_path):
    """Of a user with nothing but this tree."""
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **home}


def hearth(tree, environment, *words):
    command = [sys.executable, tree / "bin/hearth", *words]
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)


def status_of(tree, environment, socket):
    ran = hearth(tree, environment, "status", "--json", "--socket", socket)
    return json.loads(ran.stdout) if ran.returncode in (0, 5) and ran.stdout else {}


def service(tree, environment, tmp_path, socket):
    command = [tree / "bin/hearthd", "--socket", socket, "--device", "cpu", "--threads", "2"]
    return running(command, environment, tmp_path / "hearthd.log")


def test_without_libtorch_the_service_runs_and_names_the_command_that_brings_it(
    tree, environment, tmp_path
):
    socket = tmp_path / "hearth.sock"
    with service(tree, environment, tmp_path, socket):
        failed = wait_for(
            lambda: status_of(tree, environment, socket).get("worker_state") == "failed",
            "a status that says there is no engine",
        )
        assert failed
        picture = draw_picture(tmp_path / "picture.png")
        told = hearth(tree, environment, "caption", picture, "--model", "ember", "--socket", socket)
    assert told.returncode != 0
    assert "no engine" in told.stderr and "hearth setup" in told.stderr


def test_with_the_users_own_libtorch_the_embedded_model_describes_a_picture(
    tree, environment, tmp_path
):
    cache = (BUILD / "CMakeCache.txt").read_text()
    torch = Path(re.search(r"^HEARTH_TORCH_DIR:PATH=(.*)$", cache, re.M)[1])
    own = Path(environment["XDG_DATA_HOME"]) / "hearth/torch"
    own.mkdir(parents=True)
    (own / libtorch.plan("cpu", own).version).symlink_to(torch.parent)
    socket = tmp_path / "hearth.sock"
    with service(tree, environment, tmp_path, socket):
        picture = draw_picture(tmp_path / "picture.png")
        wait_for(
            lambda: status_of(tree, environment, socket).get("worker_state") == "ready", "an engine"
        )
        told = hearth(tree, environment, "caption", picture, "--model", "ember", "--socket", socket)
    assert told.returncode == 0, told.stderr
    assert "red" in told.stdout and "circle" in told.stdout


def test_setup_finds_the_engine_of_its_own_tree_and_asks(tree, environment, tmp_path):
    asked = hearth(tree, environment, "setup", "--for", "cpu")
    assert asked.returncode == 1 and "to fetch" in asked.stdout
    assert (str(tree) if os.geteuid() == 0 else environment["XDG_DATA_HOME"]) in asked.stdout


def test_units_for_a_prefix_that_nobody_knows_are_left_to_its_own_script(tree):
    assert not (tree / "lib/systemd").exists()
    assert os.access(tree / "share/hearth/systemd/install", os.X_OK)
