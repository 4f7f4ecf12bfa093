"""Events of the log have stable names: those of docs/diagnostics.md, all of them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CALL = re.compile(r"log::event\(([^{]*?),\s*\{", re.S)


def named():
    found = set()
    for path in [*ROOT.glob("daemon/**/*.cpp"), *ROOT.glob("models/**/*.cpp")]:
        for words in CALL.findall(path.read_text(encoding="utf-8")):
            found |= set(re.findall(r'"(\w+)"', words))
    return found


def documented():
    page = (ROOT / "docs/diagnostics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| (\w+) \| (?:debug|info|warning|error)", page, re.M))


def test_the_page_lists_the_events_that_are_written_and_no_other():
    assert len(named()) > 10
    assert named() == documented()
