"""`hearth setup`: libtorch is fetched, checked, unpacked and in place whole, or not at all."""

import functools
import hashlib
import http.server
import json
import os
import re
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from hearth import cli, libtorch
from hearth.libtorch import bring

ROOT = Path(__file__).resolve().parents[2]
VERSION = "9.8.7"
KEEP = ["torch/lib/*.so*", "*.dist-info/LICENSE"]
LEAVE = ["*/libtorch_python.so"]
Setup = namedtuple("Setup", "run root served folder")


def engine_script(path, opens):
    """An engine that works with a libtorch in LD_LIBRARY_PATH that has `opens`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\nif [ -e "$LD_LIBRARY_PATH/{opens}" ]; then\n'
        f"  echo 'libtorch {VERSION}'; echo 'device cpu: a test'\n"
        "else\n  echo 'libtorch_cpu.so: cannot open shared object file'; exit 127\nfi\n"
    )
    path.chmod(0o755)
    return path


def write_wheel(folder, members):
    """A wheel of one project, and what the lock says of it."""
    path = folder / "torch-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return {
        "project": "torch",
        "version": VERSION,
        "url": f"http://127.0.0.1:9/{path.name}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "keep": {"cpu": KEEP, "cuda": KEEP},
        "leave": LEAVE,
        "unpacked_bytes": {"cpu": 100, "cuda": 100},
    }


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_):
        pass


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """hearth setup with a lock of one small wheel, a mirror of it, and an engine."""
    served = tmp_path / "served"
    served.mkdir()
    members = {
        "torch/lib/libtorch_cpu.so": b"library",
        "torch/lib/libtorch_python.so": b"for Python",
        "torch/nn/init.py": b"for Python",
        "torch-9.8.7.dist-info/LICENSE": b"terms",
    }
    lock = {"version": VERSION, "wheels": [write_wheel(served, members)]}
    (tmp_path / "wheels.json").write_text(json.dumps(lock))
    monkeypatch.setattr(libtorch, "LOCK", tmp_path / "wheels.json")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    engine = engine_script(tmp_path / "bin/hearth-worker", "libtorch_cpu.so")
    handler = functools.partial(Quiet, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    common = ["--worker", str(engine), "--for", "cpu"]
    common += ["--mirror", f"http://127.0.0.1:{server.server_port}/"]
    root = tmp_path / "data/hearth/torch"
    yield Setup(lambda *more: cli.main(["setup", *common, *more]), root, served, root / VERSION)
    server.shutdown()
    server.server_close()


def test_without_consent_nothing_is_fetched_but_size_and_place_are_said(setup, capsys):
    assert setup.run() == 1
    said = capsys.readouterr()
    assert f"libtorch {VERSION} for the CPU alone, into {setup.folder}" in said.out
    assert "to fetch" in said.out and "--yes" in said.err
    assert not setup.root.exists()


def test_what_the_engine_needs_is_in_place_and_the_rest_is_not(setup, capsys):
    assert setup.run("--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["done"] and told["folder"] == str(setup.folder) and told["variant"] == "cpu"
    files = {str(p.relative_to(setup.folder)) for p in setup.folder.rglob("*") if p.is_file()}
    assert files == {"torch/lib/libtorch_cpu.so", "torch-9.8.7.dist-info/LICENSE", "variant"}
    assert bring.variant_in(setup.folder) == "cpu"
    left = {path.name for path in setup.root.iterdir()}
    assert left == {VERSION, ".lock"}, "downloads and staging are gone"


def test_an_engine_that_works_already_is_left_alone(setup, capsys):
    assert setup.run("--yes") == 0
    before = setup.folder.stat().st_ino
    capsys.readouterr()
    assert setup.run() == 0
    assert "has all that it needs" in capsys.readouterr().out
    assert setup.run("--yes", "--again") == 0
    assert setup.folder.stat().st_ino != before


def test_an_interrupted_download_goes_on_where_it_stopped(setup):
    whole = next(setup.served.iterdir()).read_bytes()
    part = setup.root / "downloads" / next(setup.served.iterdir()).name
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:100])
    wanted = libtorch.plan("cpu", setup.root)
    assert wanted.download_bytes == len(whole) - 100
    assert setup.run("--yes") == 0
    assert (setup.folder / "torch/lib/libtorch_cpu.so").read_bytes() == b"library"


def test_a_file_that_is_not_the_pinned_one_is_thrown_away(setup, capsys):
    wheel = next(setup.served.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    assert setup.run("--yes") == 1
    assert "not the file that is pinned" in capsys.readouterr().err
    assert not setup.folder.exists() and not list((setup.root / "downloads").iterdir())


def test_a_name_that_leaves_the_folder_is_refused(setup, capsys):
    entry = write_wheel(setup.served, {"torch/lib/../../../../evil.so": b"x"})
    libtorch.LOCK.write_text(json.dumps({"version": VERSION, "wheels": [entry]}))
    assert setup.run("--yes") == 1
    assert "evil.so" in capsys.readouterr().err
    assert not list(setup.root.parent.parent.rglob("evil.so"))


def test_what_the_engine_cannot_load_never_comes_into_place(setup, tmp_path, capsys):
    engine_script(tmp_path / "bin/hearth-worker", "another.so")
    assert setup.run("--yes") == 1
    said = capsys.readouterr().err
    assert "does not work with it" in said and "cannot open shared object file" in said
    assert not setup.folder.exists() and (setup.root / "downloads").is_dir()


def test_a_disk_without_room_is_said_before_anything_is_fetched(setup, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(bring.shutil, "disk_usage", lambda _: usage(9, 9, 1000))
    assert setup.run("--yes") == 1
    assert "1.0 KB free" in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert not list((setup.root / "downloads").iterdir())


def test_two_at_once_are_refused(setup, capsys):
    with bring._alone(libtorch.plan("cpu", setup.root)):
        assert setup.run("--yes") == 1
    assert "Another hearth setup" in capsys.readouterr().err


def test_a_missing_engine_is_named(capsys, tmp_path):
    assert cli.main(["setup", "--worker", str(tmp_path / "none")]) == 1
    assert "install hearth first" in capsys.readouterr().err


def test_root_puts_it_beside_the_engine(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert libtorch.root_for(Path("/usr/bin/hearth-worker")) == Path("/usr/lib/hearth/torch")


def test_the_lock_has_the_versions_that_the_build_uses():
    prepare = (ROOT / ".ci/prepare.sh").read_text()
    lock = json.loads(libtorch.LOCK.read_text())
    locked = {wheel["project"]: wheel["version"] for wheel in lock["wheels"]}
    assert lock["version"] == locked["torch"]
    assert f"torch_version={locked['torch']}\n" in prepare
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-cupti"):
        assert f"{name}=={locked[name]}" in prepare
    for variant in libtorch.VARIANTS:
        pinned = libtorch.plan(variant, Path("/nowhere"))
        assert all(re.fullmatch("[0-9a-f]{64}", wheel.sha256) for wheel in pinned.wheels)
        assert all(wheel.url.startswith("https://") for wheel in pinned.wheels)
