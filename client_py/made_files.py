"""What the programs of this folder do with the files that they make: write them, or with --check
say which are not up to date."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def write_or_check(made: Mapping[Path, str]) -> int:
    """The exit code: 1 when one was to be checked and is not what it should be."""
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in made.items() if _text_of(path) != text]
    for path in stale:
        print(f"{path} is not up to date: run client_py/{Path(sys.argv[0]).name}")
    return 1 if stale else 0


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
