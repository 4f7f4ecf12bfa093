"""Which programs may take the broker's place, and what happens when one cannot."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from service import BIN, wait_until

from hearth import errors


def ask(text):
    return [{"role": "user", "content": text}]


@pytest.fixture
def installed(start_daemon, tmp_path, monkeypatch):
    """A service whose program the test may replace."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("hearthd", "hearth-worker"):
        shutil.copy2(BIN / name, folder / name)
    monkeypatch.setattr("service.BIN", folder)
    daemon = start_daemon()
    daemon.program = folder / "hearthd"
    return daemon


def replace(program, text=None):
    """As a package manager does it: a new file, moved over the old one."""
    new = program.with_suffix(".new")
    if text is None:
        shutil.copy2(BIN / "hearthd", new)
    else:
        new.write_text(text)
        new.chmod(0o755)
    new.rename(program)


def test_a_program_that_was_replaced_on_disk_takes_over(installed):
    exe = Path(f"/proc/{installed.process.pid}/exe")
    with installed.connect() as admin:
        for _ in range(2):
            before = exe.stat().st_ino
            replace(installed.program)
            assert exe.stat().st_ino == before
            admin.upgrade()
            assert exe.stat().st_ino == installed.program.stat().st_ino != before
        assert admin.status().upgrades == 2


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        ("#!/bin/sh\nexit 3\n", errors.Version, "exited with status 3"),
        ("#!/bin/sh\nkill -SEGV $$\n", errors.Version, "its own check"),
        ("#!/bin/sh\necho hearthd 9 state 99 reads 98 readable 99 >&3\n", errors.Version, "99"),
        ("#!/bin/sh\necho I am somebody else >&3\n", errors.Version, "does not say"),
        ("no program at all", errors.Version, "cannot be started"),
        ("#!/bin/sh\nsleep 60\n", errors.TimedOut, "has not answered within 2 s"),
        ("", errors.Version, "cannot be started"),
    ],
)
def test_a_program_that_cannot_take_over_changes_nothing(installed, model, program, error, words):
    with installed.connect() as client, installed.connect() as admin:
        stream = client.generate(client.offer_model(model), ask("!wait 5 !count 40"), stream=True)
        next(stream)
        if program:
            replace(installed.program, program)
        else:
            installed.program.unlink()
        with pytest.raises(error, match=words):
            admin.upgrade()
        assert stream.reply.text.endswith(" 40")
        assert admin.status().upgrades == 0
        assert admin.status().worker_restarts == 0
        replace(installed.program)
        admin.upgrade()
        assert admin.status().upgrades == 1


def test_a_published_folder_that_is_gone_refuses_the_upgrade(start_daemon, fake_model):
    folder = fake_model()
    daemon = start_daemon("--model", f"big={folder}")
    with daemon.connect() as client, daemon.connect() as admin:
        client.generate("big", ask("hello"))
        aside = folder.rename(folder.with_suffix(".aside"))
        with pytest.raises(errors.Version, match="own check"):
            admin.upgrade()
        assert str(folder) in daemon.log_tail()
        assert admin.status().upgrades == 0
        assert client.generate("big", ask("still there")).text.startswith("still there")
        aside.rename(folder)
        admin.upgrade()
        assert client.generate("big", ask("and again")).text.startswith("and again")


def test_killed_at_any_moment_of_an_upgrade_a_restarted_service_serves_on(start_daemon, model):
    rng = random.Random(5)
    daemon = start_daemon()
    for _ in range(2):
        with daemon.connect() as client:
            known = client.offer_model(model)
            client.generate(known, ask("hello"))
            worker = client.status().worker_pid
            daemon.process.send_signal(signal.SIGUSR2)
            time.sleep(rng.uniform(0.0, 0.06))
            daemon.kill()
            wait_until(lambda pid=worker: not os.path.exists(f"/proc/{pid}"), 20, "its end")
            daemon.start()
            assert client.generate(known, ask("still here")).text.startswith("still here")


def test_a_state_that_cannot_be_read_starts_the_service_afresh(start_daemon, tmp_path):
    daemon = start_daemon()
    nonsense = os.memfd_create("nonsense", 0)
    os.write(nonsense, b"x" * 100)
    daemon.stop()
    daemon.log.write_text("")
    os.set_inheritable(nonsense, True)
    command = [BIN / "hearthd", f"--take-over={nonsense}", "--socket", daemon.socket, "--no-ember"]
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            list(map(str, [*command, "--fake"])), pass_fds=[nonsense], stdout=log, stderr=log
        )
    wait_until(daemon._is_ready, 60, "a fresh service")
    assert "handed over is lost" in daemon.log.read_text()
    with daemon.connect() as client:
        assert client.status().upgrades == 0
