"""Every row of the fault table has its proofs, and every proof its row."""

import re
from pathlib import Path

import pytest
from faults import ROWS

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BORDER = ROOT / "docs/border.md"


def rows_marked_in(file):
    return {int(row) for row in re.findall(r"pytest\.mark\.fault\((\d+)\)", file.read_text())}


def is_defined(file, name):
    text = file.read_text()
    if file.suffix == ".py":
        return re.search(rf"^def {name}\(", text, re.MULTILINE) is not None
    suite, _, case = name.partition(".")
    return re.search(rf"TEST(_F|_P)?\({suite},\s*{case}\)", text) is not None


@pytest.mark.parametrize("row", ROWS)
def test_the_proofs_of_each_row_exist(row):
    for proof in ROWS[row].proofs:
        path, _, name = proof.partition("::")
        file = ROOT / path
        assert file.exists(), proof
        if name:
            assert is_defined(file, name), proof
        elif file.parent == HERE:
            assert row in rows_marked_in(file), f"no test of {path} is marked fault({row})"


def test_every_marked_test_stands_in_its_row():
    for file in HERE.glob("test_*.py"):
        path = str(file.relative_to(ROOT))
        for row in rows_marked_in(file):
            assert path in ROWS[row].proofs, f"row {row} does not name {path}"


def test_all_rows_that_need_no_gpu_are_there():
    assert set(ROWS) == {*range(1, 25), 27}


def test_the_documentation_shows_every_row_in_the_same_words():
    shown = dict(re.findall(r"^\| (\d+) \| (.*) \|$", BORDER.read_text(), re.MULTILINE))
    assert shown == {str(number): row.sentence for number, row in ROWS.items()}
