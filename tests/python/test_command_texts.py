"""What is made from the parsers: completions of three shells, man pages, docs/command.md."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hearth import messages
from hearth.cli import manual, shells, tree
from server import replies

ROOT = Path(__file__).resolve().parents[2]
# words before the cursor, what must be offered, what must not
TYPED = [
    (["hearth", "st"], ["status"], ["top"]),
    (["hearth", "load", "--d"], ["--dry-run", "--dtype"], ["--pin"]),
    (["hearth", "load", "--dtype", "i"], ["int8", "int4"], ["float8"]),
    (["hearth", "jobs", ""], ["cancel"], []),
    (["hearth", "jobs", "cancel", ""], ["17"], []),
    (["hearth", "clients", "kick", ""], ["400"], []),
    (["hearth", "evict", "Qw"], ["Qwen3-VL-8B"], ["ember"]),
    (["hearth", "help", "sel"], ["selftest"], []),
]


@pytest.fixture(scope="module")
def nodes():
    return tree.commands()


@pytest.fixture
def environment(service, tmp_path):
    """A `hearth` on PATH that talks to our service."""
    job = messages.JobEntry(job=17, kind="generate", state="running")
    models = [messages.ModelEntry(model=n, name=n, state="hot") for n in ("ember", "Qwen3-VL-8B")]
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=[job]))
    service.on[messages.Status] = replies(
        messages.StatusReport(
            server="h", boot_id="b", uptime_ms=1, worker_state="ready",
            clients=[messages.ClientEntry(connection=400)], models=models,
        )
    )  # fmt: skip
    program = tmp_path / "bin" / "hearth"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hearth "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HEARTH_SOCKET": service.path,
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "HOME": str(tmp_path),
    }


def offered(script, words, environment):
    """What bash would offer for the last word."""
    program = (
        f"source {script}; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
        f"COMP_CWORD={len(words) - 1}; _hearth; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    command = ["bash", "--norc", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("words, wanted, unwanted", TYPED, ids=lambda v: " ".join(v)[:24])
def test_bash_offers_what_fits(nodes, environment, tmp_path, words, wanted, unwanted):
    script = tmp_path / "hearth.bash"
    script.write_text(shells.bash(nodes))
    found = offered(script, words, environment)
    assert not [word for word in wanted if word not in found], found
    assert not [word for word in unwanted if word in found], found


def test_bash_offers_words_with_blanks_whole(nodes, environment, tmp_path):
    script = tmp_path / "hearth.bash"
    script.write_text(shells.bash(nodes))
    assert offered(script, ["hearth", "caption", "--preset", "One"], environment) == [
        "One sentence"
    ]
    (tmp_path / "a file.png").write_text("")
    os.chdir(tmp_path)
    assert offered(script, ["hearth", "caption", "a"], environment) == ["a file.png"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_have_no_errors(nodes, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    script = tmp_path / "script"
    script.write_text(shells.SHELLS[shell](nodes))
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# a line, a word that must be offered for its end, and one that must not
LINES = [
    ("hearth st", "status", "top"),
    ("hearth load --dr", "--dry-run", "--pin"),
    ("hearth load --dtype in", "int8", "float8"),
    ("hearth caption --preset One", "One sentence", "One"),
    ("hearth evict Qw", "Qwen3-VL-8B", "ember"),
    ("hearth jobs ca", "cancel", "17"),
    ("hearth jobs cancel 1", "17", "cancel"),
    ("hearth clients kick 4", "400", "kick"),
    ("hearth config sh", "show", "schema"),
    ("hearth config show --ch", "--changed", "--program"),
    ("hearth completion b", "bash", "names"),
    ("hearth help sel", "selftest", "status"),
]


def test_fish_offers_what_fits(nodes, environment, tmp_path):
    if not shutil.which("fish"):
        pytest.skip("no fish here")
    script = tmp_path / "hearth.fish"
    script.write_text(shells.fish(nodes))
    for line, word, other in LINES:
        program = f"source {script}; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", program], capture_output=True, text=True, env=environment
        )
        offered = [found.partition("\t")[0] for found in done.stdout.splitlines()]
        assert word in offered and other not in offered, (line, offered, done.stderr)


def test_zsh_completes_what_can_only_be_one(nodes, environment, tmp_path):
    """On a terminal: what zsh makes of a line, its last word being all that fits."""
    if not shutil.which("zsh"):
        pytest.skip("no zsh here")
    (tmp_path / "_hearth").write_text(shells.zsh(nodes))
    (tmp_path / "empty").mkdir()
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**environment, "TERM": "dumb", "PS1": "> "}, cwd=tmp_path / "empty",
    )  # fmt: skip
    seen = ""

    def wait_for(words):
        nonlocal seen
        deadline = time.monotonic() + 30
        while words not in seen:
            assert time.monotonic() < deadline, f"{words!r} did not come: {seen[-400:]!r}"
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
        seen = ""

    try:
        # what Tab makes of a line is printed instead of run
        start = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; "
        start += 'shown() { print -r -- "is:$BUFFER:"; BUFFER= }; zle -N shown; '
        start += "bindkey '^X' shown; bindkey '^I' expand-or-complete; print rea''dy\n"
        os.write(ours, start.encode())
        wait_for("ready")
        for line, word, _ in LINES:
            kept = line.rpartition(" ")[0]
            if word == "int8":
                continue  # int4 fits as well
            os.write(ours, f"{line}\t\x18".encode())
            wait_for(f"is:{kept} {word.replace(' ', chr(92) + ' ')}")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
        os.close(theirs)


def test_names_are_silence_when_nobody_answers(command, tmp_path):
    assert command("completion", "names", "models", "--socket", tmp_path / "none") == (0, "", "")


def test_the_command_prints_a_script(command):
    assert command("completion", "bash")[1].startswith("# bash completion")
    assert command("completion", "tcsh")[0] == 2


# --- man pages ---


def test_every_command_has_a_page_and_pages_are_reproducible(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    first = manual.pages()
    assert first == manual.pages()
    assert set(first) == {"hearth.1", *(f"hearth-{name}.1" for name in tree.COMMANDS)}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert '"2023-11-14"' in manual.pages()["hearth-status.1"]


def test_the_build_writes_them_to_a_folder(tmp_path):
    command = [sys.executable, "-m", "hearth.cli.manual", tmp_path / "man"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    subprocess.run(command, check=True, env=environment)
    assert (tmp_path / "man/hearth-top.1").exists()


def test_the_pages_are_clean_troff(tmp_path, monkeypatch):
    if not shutil.which("mandoc") and not shutil.which("groff"):
        pytest.skip("neither mandoc nor groff here")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name, text in manual.pages().items():
        (tmp_path / name).write_text(text)
    paths = sorted(tmp_path.glob("*.1"))
    if shutil.which("mandoc"):
        done = subprocess.run(
            ["mandoc", "-Tlint", "-Wwarning", *paths], capture_output=True, text=True
        )
        assert done.stdout == ""
    if shutil.which("groff"):
        command = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z"]
        for path in paths:
            done = subprocess.run([*command, path], capture_output=True, text=True)
            assert done.stderr == "", path


def test_the_page_in_docs_is_what_the_parsers_say():
    command = [sys.executable, ROOT / "client_py/command_page.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
