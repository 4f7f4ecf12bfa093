"""The `hearth` command with a real service."""

import json
import os
import subprocess
import sys
import zlib

import numpy
from PIL import Image


def run(*arguments):
    """(exit code, stdout, stderr) of `hearth …`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "hearth", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


def test_pictures_from_files_reach_the_model_unchanged(daemon, model, tmp_path):
    pixels = numpy.random.default_rng(11).integers(0, 256, (70, 90, 3), numpy.uint8)
    path = tmp_path / "noise.png"
    Image.fromarray(pixels).save(path)
    code, out, err = run(
        "caption", path, path, "--model", model, "--prompt", "well?", "--socket", daemon.socket
    )
    answer = f"image 1: u8 [70, 90, 3] crc32 {zlib.crc32(pixels.tobytes()):08x}; well?"
    assert (code, out) == (0, f"{path}: {answer}\n" * 2), err
    code, out, _ = run("caption", path, "--model", model, "--json", "--socket", daemon.socket)
    assert code == 0 and json.loads(out)["receipt"]["model_loads"] == 1


def test_status_names_worker_and_models(daemon, client, model):
    client.load(client.offer_model(model))
    code, out, _ = run("status", "--socket", daemon.socket)
    assert code == 0
    assert str(client.status().worker_pid) in out and model.name in out and "hot" in out


def test_a_model_that_is_refused_is_exit_code_1(daemon, tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (8, 8)).save(path)
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    code, out, err = run("caption", path, "--model", tmp_path, "--socket", daemon.socket)
    assert (code, out) == (1, "") and "unheard_of" in err
    code, _, err = run("caption", path, "--model", "no-such-name", "--socket", daemon.socket)
    assert code == 1 and "no-such-name" in err
