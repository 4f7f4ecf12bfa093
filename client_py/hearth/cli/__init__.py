"""The `hearth` command. One file a command; only here is `rich` used.

commands.py lists them, so that help starts without importing any. A command's module has

- a docstring: its first line is the summary in COMMANDS, the rest is the help's description;
- `add_arguments(parser)` and `run(options) -> exit code`; `options.usage_error(text)` ends with 2;
- `EXAMPLES`, pairs of a command line and what it does, and `JSON`, what --json prints.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the service is not reachable, 4 denied, 5 the device
is not well, 6 not in the time allowed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ..version import VERSION
from . import standard_streams
from .commands import COMMANDS, GROUPS

if TYPE_CHECKING:
    from .. import errors

EXIT_ERROR, EXIT_USAGE, EXIT_NOT_REACHABLE, EXIT_INTERRUPTED = 1, 2, 3, 130
EXIT_DENIED, EXIT_DEVICE, EXIT_TIMEOUT = 4, 5, 6
EXIT_CODES = {
    0: "done",
    EXIT_ERROR: "failed; the error says why",
    EXIT_USAGE: "wrong usage",
    EXIT_NOT_REACHABLE: "the service is not reachable",
    EXIT_DENIED: "denied: an administrator may",
    EXIT_DEVICE: "the device or the engine is not well",
    EXIT_TIMEOUT: "not done in the time allowed",
    EXIT_INTERRUPTED: "interrupted",
}
_INSTALL = (
    "Install it: apt install python3-msgpack python3-rich python3-pil, "
    "or: pip install msgpack rich pillow"
)
_EXIT_OF = {
    "not_reachable": EXIT_NOT_REACHABLE,
    "denied": EXIT_DENIED,
    "device_failed": EXIT_DEVICE,
    "timed_out": EXIT_TIMEOUT,
}
# what a person at a terminal can do
_HINTS = {
    "bad_request": "",
    "unknown_model": "`hearth ps --all` lists the models that it publishes; one on disk is named "
    "by its folder or file.",
    "not_reachable": "`hearth doctor` finds out why; `hearth up` starts it where it does not run.",
    "out_of_memory": "`hearth ps` says what is in memory, `hearth load MODEL --dry-run` what fits.",
    "worker_lost": "Try again; `hearth logs --level warning` says why it ended.",
    "internal": "Please report it, with what `hearth doctor --bundle` writes.",
}
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    standard_streams.settle()
    rest = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _ended_from_outside():
            try:
                return _run(rest)
            finally:
                sys.stdout.flush()  # here, where a full device can still be said
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `hearth … | head`
        return EXIT_ERROR
    except ImportError as error:
        if error.name and error.name.partition(".")[0] == "hearth":
            raise
        print(f"hearth: {error}. {_INSTALL}", file=sys.stderr)
        return EXIT_USAGE
    except Exception as error:
        return tell(error, "--json" in rest)
    finally:
        standard_streams.drop_unwritten()


def _run(words: list[str]) -> int:
    name, rest = _command_in(words)
    if name is None:
        return int(rest[0])
    options = parser_of(name).parse_args(rest)
    return int(options.run(options) or 0)


@contextlib.contextmanager
def _ended_from_outside() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command in good order: the terminal is put back, and what was
    started for the moment is ended. Where somebody else handles them, that stays."""
    is_main = threading.current_thread() is threading.main_thread()
    usual = [one for one in _ENDING if is_main and signal.getsignal(one) is signal.SIG_DFL]
    for one in usual:
        signal.signal(one, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        for one in usual:
            signal.signal(one, signal.SIG_DFL)


def module_of(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f".{name.replace('-', '_')}", __name__)


def parser_of(name: str) -> Parser:
    """The parser of one command, its module imported."""
    module = module_of(name)
    description = (module.__doc__ or name).rstrip()
    parser = Parser(
        prog=f"hearth {name}",
        description=description,
        epilog=_examples(getattr(module, "EXAMPLES", ())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _add_everywhere(below, argparse.SUPPRESS, argparse.SUPPRESS)
    _add_everywhere(parser, None, False)
    parser.set_defaults(run=module.run, usage_error=parser.error)
    return parser


def _add_everywhere(parser: argparse.ArgumentParser, socket: object, as_json: object) -> None:
    """What all commands understand, also behind a command of a command: there without a default,
    which would undo what stood before it."""
    everywhere = parser.add_argument_group("everywhere")
    everywhere.add_argument(
        "--socket", metavar="PATH", default=socket, help="where the service listens: $HEARTH_SOCKET"
    )
    everywhere.add_argument(
        "--json", action="store_true", default=as_json, help="print JSON instead of text"
    )


class Parser(argparse.ArgumentParser):
    """Which says in a line what is wrong, suggests the spelling of an option that it does not know,
    and fails where its help cannot be written."""

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        start, _, words = message.partition("unrecognized arguments: ")
        if not start and words:
            known = [flag for flag in self._option_string_actions if flag.startswith("--")]
            message += _meant(words.split()[0], known)
        end = "" if message.endswith((".", "?", "!")) else "."
        self.exit(EXIT_USAGE, f"{self.prog}: {message}{end} `{self.prog} --help` says more.\n")


def overview() -> str:
    """The help of `hearth` alone: every command in its group."""
    width = max(map(len, COMMANDS))
    lines = ["usage: hearth COMMAND [OPTION …]", "", "Talk to the hearth service.", ""]
    for group, title in GROUPS.items():
        lines.append(f"{title}:")
        for name, command in COMMANDS.items():
            if command.group == group:
                lines.append(f"  {name:<{width}}  {command.summary}")
        lines.append("")
    lines.append(
        "`hearth COMMAND --help` says more. --json and --socket PATH are understood by all."
    )
    return "\n".join(lines)


def _command_in(words: list[str]) -> tuple[str | None, list[str]]:
    """The command and its words; or None and the exit code, all being said."""
    first = words[0] if words else ""
    if first == "help" and len(words) > 1:
        first, words = words[1], [words[1], "--help"]
    if first in COMMANDS:
        return first, words[1:]
    if first in ("-h", "--help", "help"):
        print(overview())
        return None, ["0"]
    if first in ("-V", "--version"):
        print(f"hearth {VERSION}")
        return None, ["0"]
    if not first:
        print(overview(), file=sys.stderr)
    elif first.startswith("-"):
        print("hearth: options come behind the command: hearth COMMAND [OPTION …]", file=sys.stderr)
    else:
        meant = _meant(first, list(COMMANDS)) or ". `hearth --help` lists them."
        print(f"hearth: there is no command {first!r}{meant}", file=sys.stderr)
    return None, [str(EXIT_USAGE)]


def _meant(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f". Did you mean {near[0]!r}?" if near else ""


def _examples(pairs: Sequence[tuple[str, str]]) -> str | None:
    if not pairs:
        return None
    return "\n".join(["examples:", *(f"  {line}\n      {what}" for line, what in pairs)])


def tell(error: Exception, as_json: bool) -> int:
    """An error in words, or as JSON; both go to stderr."""
    from .. import errors

    if isinstance(error, OSError):  # a file of the user's, or one without a name
        is_folder = isinstance(error, FileNotFoundError)
        nameless = "The current folder" if is_folder else "The output cannot be written"
        where = error.filename or nameless
        error = errors.BadRequest(f"{where}: {error.strerror or error}.", "")
    if not isinstance(error, errors.HearthError):
        raise error
    if error.hint == type(error)("").hint:  # the usual one, which is for programs
        error.hint = _HINTS.get(error.code, error.hint)
    with contextlib.suppress(OSError):  # nobody reads standard error: the exit code says it
        (_print_as_json if as_json else _print_error)(error)
    return _EXIT_OF.get(error.code, EXIT_ERROR)


def _print_error(error: errors.HearthError) -> None:
    from rich.text import Text

    from .output import problems

    problems().print(Text.assemble(("hearth:", "bold red"), " ", error.what))
    if error.hint:
        problems().print(error.hint, markup=False)


def _print_as_json(error: errors.HearthError) -> None:
    import json

    names = ("code", "what", "hint", "retryable", "retry_after_ms")
    said = {name: getattr(error, name) for name in names}
    print(json.dumps({"error": said}, ensure_ascii=False), file=sys.stderr)
