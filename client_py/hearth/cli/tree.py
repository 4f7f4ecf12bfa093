"""The commands as data, read from their parsers.

Completions, man pages and docs/command.md are made from it. The only file that looks into argparse.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from . import module_of, parser_of
from .commands import COMMANDS

HIDDEN = argparse.SUPPRESS
_COMPLETES = "completes"  # our attribute of an action
KINDS = ("models", "jobs", "clients", "files", "folders")  # what can be completed


@dataclass(frozen=True)
class Argument:
    """An option (with flags) or a positional (without).

    value: what follows the flag, "" for nothing    completes: one of KINDS, or ""
    """

    flags: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()
    completes: str = ""
    is_optional: bool = False
    is_many: bool = False


@dataclass(frozen=True)
class Node:
    """A command, or a command of a command."""

    name: str
    summary: str
    description: str
    arguments: tuple[Argument, ...]
    nodes: tuple[Node, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    json: str = ""
    group: str = field(default="")

    @property
    def options(self) -> tuple[Argument, ...]:
        """Those with flags."""
        return tuple(one for one in self.arguments if one.flags)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """Those without."""
        return tuple(one for one in self.arguments if not one.flags)

    @property
    def usage(self) -> str:
        """The line a reader sees first, without options that all commands have."""
        parts = [f"hearth {self.name}"]
        own = [one for one in self.options if one.flags[-1] not in ("--help", "--socket", "--json")]
        for one in own:
            shown = f"{one.flags[-1]} {one.value}".rstrip()
            parts.append(shown if not one.is_optional else f"[{shown}]")
        for one in self.positionals:
            shown = f"{one.value} …" if one.is_many else one.value
            parts.append(f"[{shown}]" if one.is_optional else shown)
        if self.nodes:
            parts.append("[" + " | ".join(node.name.rsplit(" ", 1)[1] for node in self.nodes) + "]")
        return " ".join(parts)


def completes(action: argparse.Action, kind: str) -> None:
    """Says what the words of an argument are: one of KINDS."""
    assert kind in KINDS, kind
    setattr(action, _COMPLETES, kind)


def command(name: str) -> Node:
    """One of COMMANDS."""
    module = module_of(name)
    node = _node(parser_of(name), name, COMMANDS[name].summary)
    description = "\n".join((module.__doc__ or "").strip().splitlines()[1:]).strip()
    return Node(
        node.name, node.summary, description, node.arguments, node.nodes,
        tuple(getattr(module, "EXAMPLES", ())), getattr(module, "JSON", ""), COMMANDS[name].group,
    )  # fmt: skip


def commands() -> list[Node]:
    """All of COMMANDS."""
    return [command(name) for name in COMMANDS]


def _node(parser: argparse.ArgumentParser, name: str, summary: str) -> Node:
    arguments, nodes = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for word, below in action.choices.items():
                nodes.append(_node(below, f"{name} {word}", about.get(word, "")))
        elif action.help != HIDDEN:
            arguments.append(_argument(parser, action))
    return Node(name, summary, summary, tuple(arguments), tuple(nodes))


def _by_name(value: str) -> str:
    """What a value is completed with that says FILE, PATH or DIR."""
    if value.startswith("DIR"):
        return "folders"
    return "files" if any(word in value for word in ("FILE", "PATH", "PICTURE", "WORKFLOW")) else ""


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    formatter = parser._get_formatter()
    takes_value = action.nargs != 0
    value = ""
    if takes_value:
        metavar = action.metavar if isinstance(action.metavar, str) else None
        if metavar is None and action.choices is not None:
            metavar = "|".join(map(str, action.choices))
        value = metavar or (action.dest.upper() if action.option_strings else action.dest)
    return Argument(
        tuple(action.option_strings),
        value,
        " ".join(formatter._expand_help(action).split()) if action.help else "",
        tuple(map(str, action.choices)) if action.choices is not None and takes_value else (),
        str(getattr(action, _COMPLETES, "")) or _by_name(value),
        not action.required or action.nargs in ("?", "*"),
        action.nargs in ("*", "+"),
    )
