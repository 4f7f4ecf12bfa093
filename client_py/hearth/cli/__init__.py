"""The `hearth` command. One file a command; only here is `rich` used.

Exit codes: 0 done, 1 the service reported an error, 2 wrong usage, 3 the service is not reachable,
130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from .. import errors
from ..version import VERSION

COMMANDS = ("caption", "load", "free", "status", "fetch-model", "migrate")
EXIT_ERROR, EXIT_USAGE, EXIT_NOT_REACHABLE, EXIT_INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except errors.NotReachable as error:
        return _fail(error, EXIT_NOT_REACHABLE)
    except errors.HearthError as error:
        return _fail(error, EXIT_ERROR)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return EXIT_INTERRUPTED
    except ImportError as error:
        print(f"hearth: {error}. Install it: pip install 'hearthd[cli]'", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # `hearth … | head`: let the interpreter's last flush find no pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hearth", description="Talk to the hearth service.")
    parser.add_argument("--version", action="version", version=f"hearth {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
        summary = (module.__doc__ or name).splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--socket", metavar="PATH", help="where the service listens")
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
        module.add_arguments(command)
        command.set_defaults(run=module.run, usage_error=command.error)
    return parser


def _fail(error: errors.HearthError, exit_code: int) -> int:
    from .output import problems

    problems().print(f"[bold red]hearth:[/] {_escaped(error.what)}")
    if error.hint:
        problems().print(_escaped(error.hint))
    return exit_code


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
