"""Writes docs/command.md, which shows every command of `hearth` and its options.

client_py/command_page.py            writes it
client_py/command_page.py --check    says whether it is up to date

The pictures are made by tests/screens/make_screens.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "client_py"))

from hearth.cli import EXIT_CODES  # noqa: E402
from hearth.cli.commands import GROUPS  # noqa: E402
from hearth.cli.tree import Argument, Node, commands  # noqa: E402
from made_files import write_or_check  # noqa: E402

PAGE = ROOT / "docs/command.md"
_PICTURES = {"status", "top", "doctor", "explain", "selftest"}
_HEAD = """# The `hearth` command

<!-- Made by client_py/command_page.py from the commands' own parsers. -->

One command to ask models, to look after the service, and to find out what is wrong. It comes with
the Python package (`pip install '.[cli]'` in this repository's folder; once it is published, `pip
install 'hearthd[cli]'`) and with the distribution's package. `hearth COMMAND --help` and the man
pages (`man hearth-status`) say what this page says.

Every command understands `--socket PATH` (else `$HEARTH_SOCKET`,
`$XDG_RUNTIME_DIR/hearth/hearth.sock`, `/run/hearth/hearth.sock`) and `--json`: one object on one
line (`config schema` prints the schema as it is), whose fields do not change their meaning; names
in it such as `status_report` are messages and structs of [the protocol](protocol.md). With `--json`
an error is an object too, on the error output: `{"error": {"code", "what", "hint", "retryable",
"retry_after_ms"}}`; wrong usage (exit code 2) is said in words. Colours and bars appear on a
terminal only, and no colours where `NO_COLOR` is set.

Completions: `hearth completion bash` (or `zsh`, `fish`) prints a script, and says in its help
where it goes.
"""


def page() -> str:
    """The whole page."""
    nodes = commands()
    lines = [_HEAD, "## Exit codes", "", "| code | means |", "|---|---|"]
    lines += [f"| {code} | {what} |" for code, what in EXIT_CODES.items()]
    lines += ["", "## Commands", ""]
    for group, title in GROUPS.items():
        inside = [node for node in nodes if node.group == group]
        names = " · ".join(f"[{node.name}](#hearth-{node.name})" for node in inside)
        lines.append(f"- {title}: {names}")
    for node in nodes:
        lines += ["", *_command(node)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _command(node: Node) -> list[str]:
    lines = [f"### hearth {node.name}", "", node.summary, ""]
    lines += [" ".join(part.split()) + "\n" for part in node.description.split("\n\n") if part]
    if node.name in _PICTURES and (ROOT / f"docs/command_{node.name}.svg").exists():
        lines += [f"![hearth {node.name}](command_{node.name}.svg)", ""]
    lines += ["```", node.usage, *(below.usage for below in node.nodes), "```", ""]
    rows = [_row(one) for one in [*node.positionals, *_own(node)]]
    for below in node.nodes:
        word = below.name.rpartition(" ")[2]
        rows += [_row(one, word) for one in [*below.positionals, *_own(below)]]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    if node.examples:
        width = max(len(line) for line, _ in node.examples)
        lines += [
            "```",
            *(f"{line:<{width}}   # {what}" for line, what in node.examples),
            "```",
            "",
        ]
    if node.json:
        lines += [f"`--json`: {node.json}.", ""]
    return lines


def _own(node: Node) -> list[Argument]:
    return [one for one in node.options if one.flags[-1] not in ("--help", "--socket", "--json")]


def _row(one: Argument, word: str = "") -> str:
    names = ", ".join(one.flags) if one.flags else one.value
    value = f" {one.value}" if one.flags and one.value else ""
    shown = f"{word} {names}{value}".strip().replace("|", "\\|")
    return f"| `{shown}` | {one.help.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    sys.exit(write_or_check({PAGE: page()}))
