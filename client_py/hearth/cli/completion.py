"""Print the completions of a shell.

For bash, zsh or fish, made from the commands' own parsers. Names of models, jobs and clients are
asked of the service while you type, if it answers at once.
"""

from __future__ import annotations

import argparse
import contextlib

from .output import print_json
from .shells import SHELLS
from .tree import HIDDEN, commands

EXAMPLES = (
    ("hearth completion bash > ~/.local/share/bash-completion/completions/hearth", "bash"),
    ("hearth completion zsh > ~/.zfunc/_hearth", "zsh: with ~/.zfunc in fpath"),
    ("hearth completion fish > ~/.config/fish/completions/hearth.fish", "fish"),
)
JSON = '`{"shell", "script"}`'


class _Shells(tuple[str, ...]):
    """What may be named, beside what the scripts themselves ask for."""

    def __contains__(self, word: object) -> bool:
        return word == "names" or super().__contains__(word)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    shells = _Shells(SHELLS)
    parser.add_argument("shell", choices=shells, metavar="|".join(SHELLS), help="which")
    parser.add_argument("kind", nargs="?", help=HIDDEN)


def run(options: argparse.Namespace) -> int:
    """A script; or, asked by such a script, names."""
    if options.shell == "names":
        with contextlib.suppress(Exception):  # somebody is typing: silence is the best answer
            print("\n".join(_names(options.kind or "", options.socket)))
        return 0
    script = SHELLS[options.shell](commands())
    if options.json:
        print_json({"shell": options.shell, "script": script})
    else:
        print(script, end="")
    return 0


def _names(kind: str, socket: str | None) -> list[str]:
    from .. import client

    with client.connect(socket, timeout=0.2) as service:
        if kind == "models":
            return [model.name for model in service.status().models]
        if kind == "jobs":
            return [str(job.job) for job in service.jobs()]
        if kind == "clients":
            ours = service.welcome.connection if service.welcome else 0
            others = (one.connection for one in service.status().clients)
            return [str(one) for one in others if one != ours]
    return []
