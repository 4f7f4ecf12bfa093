"""Completion scripts, made from the tree of commands. Pure: nodes in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Callable

from .tree import Argument, Node

_ASKED = ("models", "jobs", "clients")  # by `hearth completion names KIND`


def bash(nodes: list[Node]) -> str:
    """A function that knows, for each command, its words and what follows each option."""
    below = _below(nodes)
    names = [node.name for node in nodes]
    lines = [
        "# bash completion for hearth: made by `hearth completion bash`",
        '_hearth_words() { COMPREPLY+=($(compgen -W "$1" -- "$cur")); }',
        '_hearth_names() { _hearth_words "$(hearth completion names "$1" 2>/dev/null)"; }',
        '_hearth_paths() { COMPREPLY+=($(compgen "$1" -- "$cur")); }',
        "_hearth() {",
        "  local IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]} cmd word i",
        "  local prev=${COMP_WORDS[COMP_CWORD-1]}",
        "  COMPREPLY=()",
        "  if ((COMP_CWORD == 1)); then",
        f"    _hearth_words {_bash_list([*names, 'help', '--help', '--version'])}",
        "    return",
        "  fi",
        "  cmd=${COMP_WORDS[1]}",
        "  for ((i = 2; i < COMP_CWORD; ++i)); do",
        "    word=${COMP_WORDS[i]}",
        '    case "$cmd $word" in',
        f'      {"|".join(_quoted(node.name) for node in below)}) cmd="$cmd $word" ;;',
        "    esac",
        "  done",
        '  case "$cmd $prev" in',
    ]
    for node in [*nodes, *below]:
        for option in node.options:
            if option.value:
                which = "|".join(_quoted(f"{node.name} {flag}") for flag in option.flags)
                lines.append(f"    {which}) {_bash_value(option)}; return ;;")
    lines += ["  esac", '  case "$cmd" in']
    for node in [*nodes, *below]:
        words = [flag for one in node.options for flag in one.flags if flag.startswith("--")]
        words += [one.name.rpartition(" ")[2] for one in node.nodes]
        values = " ".join(f"[[ $cur == -* ]] || {_bash_value(one)};" for one in node.positionals)
        lines.append(f"    {_quoted(node.name)}) _hearth_words {_bash_list(words)}; {values};;")
    lines += [f"    help) _hearth_words {_bash_list(names)} ;;", "  esac", "}"]
    lines.append("complete -o filenames -F _hearth hearth")
    return "\n".join(lines).replace("; ;;", " ;;").replace(";;;", ";;") + "\n"


def _bash_list(words: Iterable[str]) -> str:
    """A word each line, as IFS has it: some hold blanks."""
    return "$'" + "\\n".join(word.replace("'", "\\'") for word in words) + "'"


def _bash_value(one: Argument) -> str:
    if one.choices:
        return f"_hearth_words {_bash_list(one.choices)}"
    if one.completes == "models":
        return "{ _hearth_names models; _hearth_paths -f; }"
    if one.completes in _ASKED:
        return f"_hearth_names {one.completes}"
    by_kind = {"files": "_hearth_paths -f", "folders": "_hearth_paths -d"}
    return by_kind.get(one.completes, ":")


def zsh(nodes: list[Node]) -> str:
    """_arguments for each command."""
    lines = [
        "#compdef hearth",
        "# zsh completion for hearth: made by `hearth completion zsh`",
        '_hearth_names() { local -a names; names=(${(f)"$(hearth completion names $1 '
        '2>/dev/null)"}); compadd -a names }',
        "_hearth_models() { _hearth_names models; _files }",
        "_hearth() {",
        "  local line state",
        "  _arguments -C '1: :->command' '*:: :->words'",
        "  case $state in",
        "    command)",
        "      local -a commands=(",
        *(f"        '{node.name}:{_zsh_text(node.summary)}'" for node in nodes),
        "      )",
        "      _describe command commands ;;",
        "    words)",
        "      case $line[1] in",
    ]
    for node in nodes:
        lines.append(f"        {node.name})")
        if node.nodes:
            names = " ".join(below.name.rpartition(" ")[2] for below in node.nodes)
            lines.append(
                f"          _arguments {' '.join(_zsh_specs(node))} '1:command:({names})' \\"
            )
            lines.append(f"            '*:word:{_zsh_action(_first_positional(node))}' ;;")
        else:
            lines.append(f"          _arguments {' '.join(_zsh_specs(node))} ;;")
    lines += ["      esac ;;", "  esac", "}", '_hearth "$@"']
    return "\n".join(lines) + "\n"


def _first_positional(node: Node) -> Argument | None:
    return next((one for below in node.nodes for one in below.positionals), None)


def _zsh_specs(node: Node) -> Iterator[str]:
    for one in node.options:
        text = _zsh_text(one.help)
        for flag in one.flags:
            value = f":{_zsh_text(one.value)}:{_zsh_action(one)}" if one.value else ""
            yield f"'{flag}[{text}]{value}'"
    for one in node.positionals:
        start = "*" if one.is_many else ""
        yield f"'{start}:{_zsh_text(one.value)}:{_zsh_action(one)}'"


def _zsh_action(one: Argument | None) -> str:
    if one is None:
        return " "
    if one.choices:
        return f"({' '.join(one.choices)})"
    by_kind = {"models": "_hearth_models", "files": "_files", "folders": "_files -/"}
    if one.completes in by_kind:
        return by_kind[one.completes]
    return f"_hearth_names {one.completes}" if one.completes in _ASKED else " "


def _zsh_text(text: str) -> str:
    return re.sub(r"([:\[\]\\])", r"\\\1", text.replace("'", "’"))


def fish(nodes: list[Node]) -> str:
    """A line for each option of each command."""
    lines = [
        "# fish completion for hearth: made by `hearth completion fish`",
        "complete -c hearth -f",
    ]
    first = "test (count (commandline -opc)) -eq 1"
    for node in nodes:
        lines.append(
            f"complete -c hearth -n '{first}' -a {node.name} -d '{_fish_text(node.summary)}'"
        )
    for node in nodes:
        seen = f"__fish_seen_subcommand_from {node.name}"
        for below in node.nodes:
            word = below.name.rpartition(" ")[2]
            text = _fish_text(below.summary)
            lines.append(f"complete -c hearth -n '{seen}' -a {word} -d '{text}'")
        for one in [*node.options, *(one for below in node.nodes for one in below.options)]:
            lines.append(_fish_option(seen, one))
        for one in [*node.positionals, *(one for below in node.nodes for one in below.positionals)]:
            if value := _fish_value(one):
                lines.append(f"complete -c hearth -n '{seen}' {value}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _fish_option(seen: str, one: Argument) -> str:
    flags = " ".join(f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in one.flags)
    value = f" -r {_fish_value(one)}" if one.value else ""
    return f"complete -c hearth -n '{seen}' {flags}{value} -d '{_fish_text(one.help)}'"


def _fish_value(one: Argument) -> str:
    if one.choices:
        return f"-a '{' '.join(one.choices)}'"
    asked = f"-a '(hearth completion names {one.completes} 2>/dev/null)'"
    if one.completes in _ASKED:
        return f"{asked} -F" if one.completes == "models" else asked
    by_kind = {"files": "-F", "folders": "-a '(__fish_complete_directories)'"}
    return by_kind.get(one.completes, "")


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _below(nodes: list[Node]) -> list[Node]:
    return [below for node in nodes for below in node.nodes]


def _quoted(words: str) -> str:
    assert re.fullmatch(r"[\w -]+", words), words
    return f'"{words}"'


SHELLS: dict[str, Callable[[list[Node]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
