"""The commands that look after a service, with a real one: in this process, one `hearth` each."""

import json
import os
import signal

import pytest
from service import BIN, is_alive, wait_until

from hearth import cli, client
from hearth.cli import background, user_units


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """command(*words): (exit code, stdout, stderr)."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HEARTH_BIN", str(BIN))

    def run(*words):
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def ask(text):
    return [{"role": "user", "content": text}]


def test_models_are_loaded_pinned_listed_and_sent_away(daemon, command, model):
    at = ("--socket", daemon.socket)
    code, out, err = command("load", model, "--pin", *at)
    assert code == 0 and "pinned" in out, err
    _, out, _ = command("ps", "--json", *at)
    (entry,) = [one for one in json.loads(out)["models"] if one["name"] == model.name]
    assert entry["state"] == "hot" and entry["pinned"]
    assert command("unpin", model, *at)[0] == 0
    code, out, err = command("evict", entry["model"], "--to", "cold", *at)
    assert code == 0 and model.name in out, err
    _, out, _ = command("ps", "--json", *at)
    assert entry["model"] not in [one["model"] for one in json.loads(out)["models"]]
    assert command("evict", "no-such-model", *at)[0] == 1


def test_a_job_is_seen_and_cancelled_and_a_client_is_kicked(daemon, command, model):
    at = ("--socket", daemon.socket)
    with daemon.connect() as ours:
        stream = ours.generate(ours.offer_model(model), ask("!wait 20 !count 20000"), stream=True)
        next(stream)
        _, out, _ = command("jobs", "--json", *at)
        (job,) = json.loads(out)["jobs"]
        assert (job["kind"], job["state"], job["pid"]) == ("generate", "running", os.getpid())
        _, out, _ = command("top", "--once", *at)
        row = next(line for line in out.splitlines() if line.startswith("R "))
        assert "generate" in row and model.name[:8] in row
        assert command("jobs", "cancel", job["job"], *at)[0] == 0
        with pytest.raises(client.HearthError) as ended:
            list(stream)
        assert ended.value.code == "cancelled"
        connection = ours.welcome.connection
        assert command("clients", "kick", connection, *at)[0] == 0
        _, out, _ = command("clients", "--json", *at)
        assert connection not in [one["connection"] for one in json.loads(out)["clients"]]


def test_a_drained_service_takes_requests_again(start_daemon, command):
    daemon = start_daemon()
    at = ("--socket", daemon.socket)
    assert command("drain", "--timeout", "20", *at)[0] == 0
    _, out, _ = command("status", "--json", *at)
    assert json.loads(out)["mode"] == "drained"
    assert command("resume", *at)[0] == 0
    assert command("suspend", *at)[0] == 0
    assert "suspended" in command("status", *at)[1]
    assert command("resume", *at)[0] == 0
    code, out, _ = command("doctor", "--json", *at)
    levels = {one["check"]: one["level"] for one in json.loads(out)["findings"]}
    assert levels["socket"] == levels["answer"] == "ok"


def test_the_service_goes_up_and_down(command, tmp_path, monkeypatch, model):
    monkeypatch.setattr(user_units, "are_installed", lambda: False)
    socket = tmp_path / "up" / "hearth.sock"
    at = ("--socket", socket)
    code, out, err = command("up", *at, "--", "--no-ember", "--fake", "--device", "cpu")
    assert code == 0, err
    pid = background.running(background.place_of(str(socket)))
    try:
        assert command("status", *at)[0] == 0
        assert "It runs already" in command("up", *at)[1]
        assert command("load", model, *at)[0] == 0
        _, out, _ = command("logs", *at)
        assert model.name in out
        monkeypatch.setattr(background, "wait_gone", _reaping(background.wait_gone))
        code, out, err = command("down", *at)
        assert code == 0 and f"process {pid}, has ended" in out, err
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    assert command("status", *at)[0] == 3


def _reaping(wait_gone):
    """This process is the parent here: what has ended is gone when we have waited for it."""

    def wait(pid, limit_s):
        wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, limit_s, "the end of hearthd")
        return wait_gone(pid, limit_s)

    return wait


def test_bench_measures_a_real_service(daemon, command, model):
    words = ("bench", "--model", model, "-n", 6, "-c", 2, "--max-tokens", 8, "--json")
    code, out, err = command(*words, "--socket", daemon.socket)
    assert code == 0, err
    numbers = json.loads(out)
    assert numbers["requests"] == 6 and 0 < numbers["first_token_ms_p50"] <= numbers["total_ms_p95"]


def test_the_selftest_passes_and_leaves_nothing_behind(command, monkeypatch, tmp_path):
    if not (BIN.parent / "share/hearth/ember").exists():
        pytest.skip("this build has no ember")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code, out, err = command("selftest", "--json")
    told = json.loads(out)
    if not told["passed"] and "libtorch" in out:
        pytest.skip("this build computes without libtorch")
    assert code == 0, out + err
    assert told["seconds"] < 60 and len(told["answers"]) == 2
    assert not list(tmp_path.glob("hearth-selftest-*"))
