"""Who may include whom: the repository keeps the rules, and every rule can be broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci/include_rules.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_rule_catches_what_it_forbids() -> None:
    result = run("--self-test")
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_breaks_a_rule() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr
