"""`hearth config`, with a service that answers as a test says and a hearthd that is a script."""

import json
import os

import pytest

from hearth import errors, messages
from hearth.cli import config
from server import fails, replies

VALUES = [
    messages.ConfigValue(
        key="server.drain", value='"45s"', usual_value='"1500ms"', origin="/etc/h.toml:2",
        takes_effect="live",
    ),
    messages.ConfigValue(
        key="engine.slots", value="8", usual_value="8", origin="default", takes_effect="restart"
    ),
]  # fmt: skip
CHANGES = [
    messages.ConfigChange(
        key="server.drain", before='"1s"', after='"2s"', origin="h.toml:2", takes_effect="live"
    ),
    messages.ConfigChange(
        key="model.a.path", before="", after='"/a"', origin="h.toml:4", takes_effect="restart"
    ),
]


def lines_of(out):
    return [" ".join(line.split()) for line in out.splitlines()]


@pytest.fixture
def hearthd(tmp_path):
    """hearthd(code, stdout, stderr): a program that says so; its arguments are in `asked`."""

    def make(code=0, out="", err=""):
        program = tmp_path / "hearthd"
        (tmp_path / "out").write_text(out)
        (tmp_path / "err").write_text(err)
        program.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/out\n'
            f"cat {tmp_path}/err >&2\nexit {code}\n"
        )
        program.chmod(0o755)
        return program

    return make


def shown_to(service, may_administer, **found):
    service.on[messages.ShowConfig] = replies(messages.ConfigList(**found))
    report = {"server": "h", "boot_id": "b", "uptime_ms": 1, "worker_state": "ready"}
    service.on[messages.Status] = replies(
        messages.StatusReport(**report, may_administer=may_administer)
    )


def test_show_says_where_each_setting_was_said(service, command):
    shown_to(service, True, values=VALUES, files=["/etc/h.toml"])
    code, out, err = command("config", "show", "--socket", service.path)
    assert code == 0
    assert 'server.drain "45s" /etc/h.toml:2 at once' in lines_of(out)
    assert "engine.slots 8 default restart" in lines_of(out)
    assert err == "files: /etc/h.toml\n"
    _, out, _ = command("config", "show", "--changed", "--socket", service.path)
    assert "engine.slots" not in out and "server.drain" in out
    _, out, _ = command("config", "--json", "--socket", service.path)
    told = json.loads(out)
    assert [one["key"] for one in told["values"]] == ["server.drain", "engine.slots"]
    assert told["files"] == ["/etc/h.toml"] and told["limited"] is False


def test_who_is_shown_a_part_of_the_settings_is_told_so(service, command):
    shown_to(service, False, values=VALUES[1:])
    code, out, err = command("config", "show", "--socket", service.path)
    assert code == 0 and "engine.slots" in out
    assert "You are no administrator: not shown are paths" in err and "files: none" not in err
    _, out, _ = command("config", "show", "--changed", "--socket", service.path)
    assert out == "All settings that you see have their defaults.\n"
    _, out, err = command("config", "show", "--json", "--socket", service.path)
    assert json.loads(out)["limited"] is True and err == ""


def test_diff_changes_nothing_and_reload_does(service, command):
    service.on[messages.ReloadConfig] = replies(messages.ConfigReport(changes=CHANGES))
    for action, applies in (("diff", False), ("reload", True)):
        code, out, err = command("config", action, "--socket", service.path)
        assert code == 0
        assert 'server.drain "1s" "2s" h.toml:2 at once' in lines_of(out)
        assert 'model.a.path - "/a" h.toml:4 restart' in lines_of(out)
        assert err == "1 of 2 count after a restart.\n"
        assert service.peer.messages_of(messages.ReloadConfig)[-1].apply is applies
    _, out, _ = command("config", "diff", "--json", "--socket", service.path)
    assert len(json.loads(out)["changes"]) == 2
    service.on[messages.ReloadConfig] = replies(messages.ConfigReport(applied=True))
    assert command("config", "reload", "--socket", service.path)[1] == "The files say what runs.\n"


def test_a_reload_of_wrong_files_fails_and_says_why(service, command):
    report = messages.ConfigReport(problems=["h.toml:2:9: [server] is wrong", "h.toml:3:1: so"])
    service.on[messages.ReloadConfig] = replies(report)
    code, out, err = command("config", "reload", "--socket", service.path)
    assert (code, out) == (1, "")
    assert err == "h.toml:2:9: [server] is wrong\nh.toml:3:1: so\nNothing was changed.\n"
    code, out, _ = command("config", "reload", "--json", "--socket", service.path)
    assert code == 1 and json.loads(out)["problems"] == report.problems


def test_who_may_not_reload_is_told(service, command):
    service.on[messages.ReloadConfig] = fails("denied", "No.", hint="Ask root.")
    assert command("config", "reload", "--socket", service.path)[0] == 4


def test_check_asks_hearthd_and_needs_no_service(command, hearthd, tmp_path):
    right = ("config", "check", "--program", hearthd())
    assert command(*right) == (0, "The settings are right.\n", "")
    assert (tmp_path / "asked").read_text() == "--check-config\n"
    wrong = ("config", "check", "mine.toml", "--program", hearthd(1, err="mine.toml:1:1: no\n"))
    assert command(*wrong) == (1, "", "mine.toml:1:1: no\n")
    assert (tmp_path / "asked").read_text() == "--check-config --config mine.toml\n"
    code, out, _ = command(*wrong, "--json")
    assert code == 1 and json.loads(out) == {"problems": ["mine.toml:1:1: no"]}
    code, _, err = command("config", "check", "--program", hearthd(3))
    assert code == 1 and "ended with 3" in err


def test_check_without_hearthd_asks_the_service(service, command, monkeypatch, tmp_path):
    def absent(_explicit):
        raise errors.BadRequest("There is no hearthd.")

    monkeypatch.setattr(config, "find_program", absent)
    service.on[messages.ReloadConfig] = replies(messages.ConfigReport(changes=CHANGES))
    code, out, _ = command("config", "check", "--socket", service.path)
    assert (code, out) == (0, "The settings are right.\n")
    assert not service.peer.messages_of(messages.ReloadConfig)[0].apply
    assert command("config", "check", tmp_path / "x", "--socket", service.path)[0] == 1


def test_the_schema_is_hearthds(command, hearthd):
    code, out, _ = command("config", "schema", "--program", hearthd(out='{"title": "x"}\n'))
    assert code == 0 and json.loads(out) == {"title": "x"}
    assert command("config", "schema", "--program", os.devnull)[0] == 1


def test_a_hearthd_that_hangs_is_a_time_that_is_over(command, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "_HEARTHD_LIMIT_S", 0.1)
    program = tmp_path / "hearthd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    code, _, err = command("config", "check", "--program", program)
    assert code == 6 and "--check-config did not end" in err
