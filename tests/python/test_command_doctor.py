"""`hearth doctor`: every outcome of every check (doctor_cases.py), and the command."""

import json
import os
import socket

import pytest

from doctor_cases import CASES, DOWN, Fake, seen
from hearth import doctor
from hearth.cli import doctor as command_module
from hearth.doctor import machine


@pytest.mark.parametrize(
    "check, fake, said, level, words", CASES,
    ids=[f"{case[0].__name__[6:]}-{case[3]}-{number}" for number, case in enumerate(CASES)],
)  # fmt: skip
def test_a_check_finds_what_is_there(check, fake, said, level, words):
    finding = check(fake, said)
    assert finding.level == level, finding
    assert words in f"{finding.said}\n{finding.fix}"
    assert finding.fix or level not in ("warning", "problem"), "what is to be done?"


def test_every_check_has_outcomes_in_the_table():
    tested = {case[0] for case in CASES}
    assert tested == {named.check for named in doctor.all_checks()}


def test_a_check_that_fails_itself_does_not_end_the_others():
    class Broken(Fake):
        def read(self, path):
            raise RuntimeError("boom")

    found = doctor.examine(Broken(), seen())
    assert len(found) == len(doctor.all_checks())
    assert any("RuntimeError: boom" in finding.said for _, finding in found)


def test_this_machine_can_be_examined():
    found = doctor.examine(machine.Machine(), DOWN)
    assert not [finding for _, finding in found if "cannot be looked at" in finding.said]


@pytest.mark.parametrize(
    "level, part, code", [("ok", "GPU", 0), ("warning", "GPU", 0), ("problem", "kernel", 1),
                          ("problem", "GPU", 5)],
)  # fmt: skip
def test_exit_codes_tell_the_gpu_from_the_rest(monkeypatch, service, command, level, part, code):
    named = doctor.Named(part, "something", None)
    finding = doctor.Finding(level, "as it is", "do that")
    monkeypatch.setattr(command_module, "examine", lambda *_: [(named, finding)])
    got, out, _ = command("doctor", "--socket", service.path)
    assert got == code and ("as it is" in out)
    got, out, _ = command("doctor", "--json", "--socket", service.path)
    assert got == code
    assert json.loads(out)["findings"][0]["level"] == level


def test_whoever_listens_and_says_nothing_is_named(command, tmp_path):
    path = str(tmp_path / "h.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(8)
        assert machine.Machine().listener(path) == os.getpid()
        _, out, _ = command("doctor", "--json", "--socket", path)
    found = [one for one in json.loads(out)["findings"] if one["check"] == "answer"]
    assert found[0]["level"] == "problem" and str(os.getpid()) in found[0]["said"]
    assert "kill" not in found[0]["fix"], "this test is no hearthd"
    assert machine.Machine().listener(path) is None


def test_quiet_shows_only_what_is_not_in_order(service, command):
    _, out, _ = command("doctor", "--socket", service.path)
    assert "sealed memory" in out
    _, out, _ = command("doctor", "--quiet", "--socket", service.path)
    assert "sealed memory" not in out
