"""Man pages of the command, made from its parsers: `python -m hearth.cli.manual OUT_DIR`.

hearth.1 and one page for each command. Reproducible: the date is $SOURCE_DATE_EPOCH's, or none.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..version import VERSION
from . import EXIT_CODES
from .commands import COMMANDS, GROUPS
from .tree import Argument, Node, commands

_ENVIRONMENT = {
    "HEARTH_SOCKET": "where the service listens; else $XDG_RUNTIME_DIR/hearth/hearth.sock, then "
    "/run/hearth/hearth.sock",
    "NO_COLOR": "no colours; nor are there any but on a terminal",
    "XDG_STATE_HOME": "below it, in hearth/, lies the log of a service that `hearth up` started",
    "HF_ENDPOINT, HF_TOKEN": "of the Hugging Face hub, for fetch-model",
}
_FILES = {
    "$XDG_RUNTIME_DIR/hearth/hearth.sock": "socket of a user's own service",
    "/run/hearth/hearth.sock": "socket of the system's service",
}


def pages() -> dict[str, str]:
    """File name: troff."""
    nodes = commands()
    made = {f"hearth-{node.name}.1": page_of(node) for node in nodes}
    made["hearth.1"] = overview(nodes)
    return dict(sorted(made.items()))


def page_of(node: Node) -> str:
    """One command's page."""
    lines = [*_head(f"hearth-{node.name}", node.summary.rstrip("."))]
    lines += [".SH SYNOPSIS", *_synopsis(node)]
    lines += [*(line for below in node.nodes for line in [".br", *_synopsis(below)])]
    lines += [".SH DESCRIPTION", *_paragraphs(node.summary, node.description)]
    lines += [".SH OPTIONS", *_arguments(node)]
    for below in node.nodes:
        lines += [f".SS {_text(f'hearth {below.name}')}", _line(below.summary), *_arguments(below)]
    if node.examples:
        lines += [".SH EXAMPLES"]
        for line, what in node.examples:
            lines += [".TP", f".B {_text(line)}", _line(what)]
    if node.json:
        lines += [".SH JSON", _line(f"With --json: {node.json.replace('`', '')}")]
    lines += [".SH SEE ALSO", *_references(node.name)]
    return "\n".join(lines) + "\n"


def overview(nodes: list[Node]) -> str:
    """The page of the whole command."""
    lines = [*_head("hearth", "talk to the service that runs vision-language models")]
    lines += [".SH SYNOPSIS", ".B hearth", ".I COMMAND", "[\\fIOPTION\\fR ...]"]
    lines += [".SH DESCRIPTION"]
    lines += _paragraphs(
        "hearth runs vision-language models for ComfyUI in a service of its own. This command asks "
        "it, looks after it and finds out what is wrong with it.", "",
    )  # fmt: skip
    lines += [".SH COMMANDS"]
    for group, title in GROUPS.items():
        inside = [node for node in nodes if node.group == group]
        if inside:
            lines += [f".SS {_text(title)}"]
            for node in inside:
                lines += [".TP", f".BR {_text(f'hearth-{node.name}')} (1)", _line(node.summary)]
    lines += [".SH OPTIONS", "Understood by all commands:"]
    everywhere = next(node for node in nodes if node.name == "status")
    for option in everywhere.options:
        if option.flags[-1] in ("--help", "--socket", "--json"):
            lines += _argument(option)
    lines += [".SH EXIT STATUS"]
    for code, what in EXIT_CODES.items():
        lines += [".TP", f".B {code}", _line(what)]
    for title, entries in (("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        lines += [f".SH {title}"]
        for name, what in entries.items():
            lines += [".TP", f".B {_text(name)}", _line(what)]
    lines += [".SH SEE ALSO", *_references("")]
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str) -> Iterator[str]:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    yield f'.TH {_text(name.upper())} 1 "{date}" "hearth {VERSION}" "hearth"'
    yield ".SH NAME"
    yield f"{_text(name)} \\- {_text(summary[0].lower() + summary[1:])}"


def _synopsis(node: Node) -> Iterator[str]:
    count = 1 + len(node.name.split())
    words = node.usage.split(" ")
    yield f".B {_text(' '.join(words[:count]))}"
    if words[count:]:
        yield _line(" ".join(words[count:]))


def _paragraphs(summary: str, description: str) -> Iterator[str]:
    yield _line(summary)
    for paragraph in re.split(r"\n\s*\n", description):
        if paragraph.strip():
            yield ".PP"
            yield _line(" ".join(paragraph.split()))


def _arguments(node: Node) -> Iterator[str]:
    for one in [*node.positionals, *node.options]:
        yield from _argument(one)


def _argument(one: Argument) -> Iterator[str]:
    yield ".TP"
    value = f" \\fI{_text(one.value)}\\fR" if one.value else ""
    if one.flags:
        yield ", ".join(f"\\fB{_text(flag)}\\fR{value}" for flag in one.flags)
    else:
        yield f"\\fI{_text(one.value)}\\fR"
    yield _line(one.help or "")


def _references(name: str) -> Iterator[str]:
    others = [f"hearth-{one}" for one in COMMANDS if one != name] if not name else ["hearth"]
    for number, one in enumerate(others):
        end = "" if number == len(others) - 1 else " ,"
        yield f".BR {_text(one)} (1){end}"


def _line(text: str) -> str:
    """Text that may begin with anything: a dot or quote in front would be a request."""
    made = _text(text.strip())
    return f"\\&{made}" if made[:1] in (".", "'") else made


def _text(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return text.replace("’", "'").replace("→", "\\(->")


def main() -> int:
    """Writes all pages into a folder."""
    if len(sys.argv) != 2:
        print("usage: python -m hearth.cli.manual OUT_DIR", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
