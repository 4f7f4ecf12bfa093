"""Turns messages.toml into everything that must agree with it.

    python generate.py            write all outputs
    python generate.py --check    fail when a committed output differs from what would be written

Needs Python 3.11 (tomllib) and nothing else. Outputs are committed, so only who changes the
contract runs this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from generator import cpp, golden, page, python
from generator.schema import FOLDER, ROOT, Contract


def outputs(contract: Contract) -> dict[Path, bytes]:
    """Every output's path and content."""
    texts = {
        ROOT / "shm/base/code.h": cpp.codes(contract),
        FOLDER / "messages.h": cpp.header(contract),
        FOLDER / "fields.h": cpp.tables(contract),
        FOLDER / "messages.cpp": cpp.source(contract),
        ROOT / "client_py/hearth/messages.py": python.module(contract),
        ROOT / "docs/protocol.md": page.page(contract),
    }
    files = {path: text.rstrip("\n").encode() + b"\n" for path, text in texts.items()}
    for message in contract.messages:
        fields = golden.fields(contract, message, message.number)
        text = json.dumps(golden.readable(fields), indent=1, ensure_ascii=False)
        files[FOLDER / f"golden/{message.name}.json"] = text.encode() + b"\n"
        files[FOLDER / f"golden/{message.name}.bin"] = golden.msgpack(fields)
    return files


def write(files: dict[Path, bytes], stray: list[Path]) -> None:
    for path in stray:
        path.unlink()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def main() -> int:
    files = outputs(Contract((FOLDER / "messages.toml").read_text()))
    stray = [path for path in (FOLDER / "golden").glob("*") if path not in files]
    if "--check" not in sys.argv:
        write(files, stray)
        return 0
    drifted = [p for p, content in files.items() if not p.exists() or p.read_bytes() != content]
    for path in drifted + stray:
        print(f"{path.relative_to(ROOT)} differs from messages.toml: run shm/contract/generate.py")
    return 1 if drifted or stray else 0


if __name__ == "__main__":
    sys.exit(main())
