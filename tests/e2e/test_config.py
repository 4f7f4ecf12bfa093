"""Settings of a real service: files, environment, command line, and reading them again."""

import json
import os
import signal
import subprocess

import pytest
from service import BIN, Daemon, wait_until
from test_command import run

DRAIN = "server.drain"


@pytest.fixture
def configured(request, tmp_path):
    """configured(*arguments, **files): a daemon with these files beside its socket."""
    started = []

    def start(*arguments, files, environment=None):
        write(tmp_path, files)
        daemon = Daemon(tmp_path, *arguments)
        daemon.environment = environment or {}
        started.append(daemon)
        request.node.daemons = started
        return daemon.start()

    yield start
    for daemon in started:
        daemon.stop()


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def setting(daemon, key):
    with daemon.connect() as client:
        found = {value.key: value for value in client.show_config().values}[key]
    return found.value, found.origin


def check(*arguments, **environment):
    """(exit code, problems) of hearthd --check-config."""
    ran = subprocess.run(
        [BIN / "hearthd", "--check-config", *arguments],
        capture_output=True, text=True, timeout=30, env={**os.environ, **environment},
    )  # fmt: skip
    return ran.returncode, ran.stderr.splitlines()


def test_a_service_with_settings_from_everywhere(configured, tmp_path, model):
    files = {
        "hearth.toml": '[server]\ndrain = "1s"\nadmins = [7]\n'
        f'[model.described]\npath = "{model}"\ndtype = "float32"\npin = true\n'
        f"[quota.uid.{os.getuid()}]\narenas = 99\n",
        "conf.d/20.toml": "[server]\ndrain = 3\n",
        "conf.d/10.toml": "[server]\ndrain = 2\nadmins = [8]\n",
    }
    daemon = configured(
        "--keep-alive", "1h", files=files, environment={"HEARTH_CACHE_RESULTS": "5MiB"}
    )
    assert setting(daemon, DRAIN) == ('"3s"', f"{tmp_path}/conf.d/20.toml:2")
    assert setting(daemon, "server.admins") == ("[8]", f"{tmp_path}/conf.d/10.toml:3")
    assert setting(daemon, "models.keep_alive") == ('"1h"', "command line")
    assert setting(daemon, "cache.results") == ('"5MiB"', "HEARTH_CACHE_RESULTS")
    with daemon.connect() as client:
        client.status()
        assert client.welcome.quota.arenas == 99
        (published,) = client.models()
        assert (published.name, published.pinned) == ("described", True)
        assert published.dtype == "float32"

    # A reload: what can count at once does, and the rest is told.
    write(tmp_path, {"conf.d/20.toml": "[server]\ndrain = 4\nheartbeat = 5\n"})
    code, out, err = run("config", "reload", "--socket", daemon.socket)
    assert code == 0 and "server.drain" in out and "1 of 2 count after a restart" in err
    assert setting(daemon, DRAIN)[0] == '"4s"'
    assert setting(daemon, "server.heartbeat")[0] == '"10s"'

    # Nothing of files that are wrong.
    write(tmp_path, {"conf.d/30.toml": "[server]\ndrain = 5\ndrian = 6\n"})
    code, _, err = run("config", "reload", "--socket", daemon.socket)
    place = f"{tmp_path}/conf.d/30.toml:3:1"
    assert code == 1 and f"{place}: there is no setting server.drian; did you mean" in err
    assert setting(daemon, DRAIN)[0] == '"4s"'

    # SIGHUP does the same.
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.log_tail().count(place) == 2, 20, "a second refusal")
    write(tmp_path, {"conf.d/30.toml": "[server]\ndrain = 6\n"})
    code, out, _ = run("config", "diff", "--json", "--socket", daemon.socket)
    changed = {change["key"]: change["after"] for change in json.loads(out)["changes"]}
    assert changed == {DRAIN: '"6s"', "server.heartbeat": '"5s"'}
    assert setting(daemon, DRAIN)[0] == '"4s"'
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: setting(daemon, DRAIN)[0] == '"6s"', 20, "a reload")


def test_mistakes_keep_it_from_starting_and_are_told_together(tmp_path):
    write(tmp_path, {"hearth.toml": "[server]\ndrain = 'x'\nmore = 1\n"})
    ran = subprocess.run(
        [BIN / "hearthd", "--config", tmp_path / "hearth.toml", "--slots", "0"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 1 and ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 3
    for place in (f"{tmp_path}/hearth.toml:2:9: ", f"{tmp_path}/hearth.toml:3:1: ", "--slots: "):
        assert place in ran.stderr


def test_check_config_looks_where_the_service_would(tmp_path):
    folder = tmp_path / "hearth"
    folder.mkdir()
    places = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/nowhere"}
    assert check(**places, CONFIGURATION_DIRECTORY="") == (0, [])
    (folder / "hearth.toml").write_text("a = 1\n")
    code, problems = check(**places, CONFIGURATION_DIRECTORY="")
    assert code == 1 and problems[0].startswith(f"{folder}/hearth.toml:1:1: ")
    assert check("--config", tmp_path / "none")[0] == 1
    code, out, _ = run("config", "check", folder / "hearth.toml", "--program", BIN / "hearthd")
    assert (code, out) == (1, "")
    code, out, _ = run("config", "schema", "--program", BIN / "hearthd")
    assert code == 0 and "server" in json.loads(out)["properties"]
