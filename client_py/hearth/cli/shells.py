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
        words += [_word(one) for one in node.nodes]
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
    """_arguments for each command, and for each command of a command."""
    lines = [
        "#compdef hearth",
        "# zsh completion for hearth: made by `hearth completion zsh`",
        '_hearth_names() { local -a names; names=(${(f)"$(hearth completion names $1 '
        '2>/dev/null)"}); compadd -a names }',
        "_hearth_models() { _hearth_names models; _files }",
        "_hearth_commands() {",
        "  local -a commands=(",
        *(f"    '{node.name}:{_zsh_text(node.summary)}'" for node in nodes),
        "  )",
        "  _describe command commands",
        "}",
    ]
    for node in nodes:
        if node.nodes:
            lines += _zsh_below(node)
    lines += [
        "_hearth() {",
        "  local line state",
        "  _arguments -C '(- *)--help[the commands]' '(- *)--version[its version]' \\",
        "    '1: :->command' '*:: :->words'",
        "  case $state in",
        "    command) _hearth_commands ;;",
        "    words)",
        "      case $line[1] in",
        "        help) _arguments '1: :_hearth_commands' ;;",
    ]
    for node in nodes:
        called = f"_hearth_{_zsh_name(node)}" if node.nodes else _zsh_arguments(node)
        lines.append(f"        {node.name}) {called} ;;")
    lines += ["      esac ;;", "  esac", "}", '_hearth "$@"']
    return "\n".join(lines) + "\n"


def _zsh_below(node: Node) -> Iterator[str]:
    """The function of a command that has commands."""
    yield f"_hearth_{_zsh_name(node)}() {{"
    yield "  local line state"
    yield f"  {_zsh_arguments(node)} '1: :->below' '*:: :->rest'"
    yield "  case $state in"
    words = " ".join(f"'{_word(below)}:{_zsh_text(below.summary)}'" for below in node.nodes)
    yield f"    below) local -a below=({words}); _describe command below ;;"
    yield "    rest)"
    yield "      case $line[1] in"
    for below in node.nodes:
        yield f"        {_word(below)}) {_zsh_arguments(below)} ;;"
    yield "      esac ;;"
    yield "  esac"
    yield "}"


def _zsh_name(node: Node) -> str:
    return node.name.replace("-", "_")


def _zsh_arguments(node: Node) -> str:
    start = "_arguments -C" if node.nodes else "_arguments"
    return " ".join([start, *_zsh_specs(node)])


def _zsh_specs(node: Node) -> Iterator[str]:
    for one in node.options:
        text = _zsh_text(one.help)
        for flag in one.flags:
            value = f":{_zsh_text(one.value)}:{_zsh_action(one)}" if one.value else ""
            yield f"'{flag}[{text}]{value}'"
    for one in node.positionals:
        start = "*" if one.is_many else ""
        yield f"'{start}:{_zsh_text(one.value)}:{_zsh_action(one)}'"


def _zsh_action(one: Argument) -> str:
    if one.choices:
        return f"({' '.join(choice.replace(' ', chr(92) + ' ') for choice in one.choices)})"
    by_kind = {"models": "_hearth_models", "files": "_files", "folders": "_files -/"}
    if one.completes in by_kind:
        return by_kind[one.completes]
    # the blank in front: no words of zsh's own come between
    return f" _hearth_names {one.completes}" if one.completes in _ASKED else " "


def _zsh_text(text: str) -> str:
    return re.sub(r"([:\[\]\\])", r"\\\1", text.replace("'", "’"))


_FISH_HEAD = """# fish completion for hearth: made by `hearth completion fish`
function __hearth_in -d "whether it is this command, and this command of it"
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    contains -- $argv[2] $words
end
function __hearth_before -d "whether it is this command, and none of these commands of it yet"
    __hearth_in $argv[1]; or return 1
    for word in $argv[2..-1]
        __hearth_in $argv[1] $word; and return 1
    end
    return 0
end
complete -c hearth -f"""


def fish(nodes: list[Node]) -> str:
    """A line for each option of each command."""
    first = "test (count (commandline -opc)) -eq 1"
    lines = [_FISH_HEAD]
    for node in nodes:
        text = _fish_text(node.summary)
        lines.append(f"complete -c hearth -n '{first}' -a {node.name} -d '{text}'")
    names = " ".join(node.name for node in nodes)
    lines.append(f"complete -c hearth -n '{first}' -a help -d 'Say what a command does.'")
    lines.append(f"complete -c hearth -n '{first}' -l help -d 'the commands'")
    lines.append(f"complete -c hearth -n '{first}' -l version -d 'its version'")
    lines.append(f"complete -c hearth -n '__hearth_before help {names}' -a '{names}'")
    for node in nodes:
        lines += _fish_node(node, f"__hearth_in {node.name}")
        words = " ".join([node.name, *map(_word, node.nodes)])
        for below in node.nodes:
            text = _fish_text(below.summary)
            lines.append(f"complete -c hearth -n '__hearth_before {words}' -a {_word(below)} "
                         f"-d '{text}'")  # fmt: skip
            lines += _fish_node(below, f"__hearth_in {node.name} {_word(below)}")
    return "\n".join(lines) + "\n"


def _fish_node(node: Node, seen: str) -> Iterator[str]:
    for one in node.options:
        flags = [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in one.flags]
        flags += [_fish_value(one, "-r", "-x")] if one.value else []
        text = _fish_text(one.help)
        yield " ".join(["complete -c hearth", f"-n '{seen}'", *flags, f"-d '{text}'"])
    for one in node.positionals:
        if value := _fish_value(one, "", ""):
            yield f"complete -c hearth -n '{seen}' {value}"


def _fish_value(one: Argument, with_files: str, without: str) -> str:
    """What is offered, behind the flag that says whether files are, too."""
    if one.choices:
        quoted = [f'"{choice}"' if " " in choice else choice for choice in one.choices]
        return f"{without} -a '{' '.join(quoted)}'".lstrip()
    asked = f"-a '(hearth completion names {one.completes} 2>/dev/null)'"
    if one.completes == "models":
        return f"{with_files} {asked} -F".lstrip()
    if one.completes in _ASKED:
        return f"{without} {asked}".lstrip()
    by_kind = {
        "files": f"{with_files} -F",
        "folders": f"{without} -a '(__fish_complete_directories)'",
    }
    return by_kind.get(one.completes, without).lstrip()


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _below(nodes: list[Node]) -> list[Node]:
    return [below for node in nodes for below in node.nodes]


def _word(below: Node) -> str:
    """What is typed for a command of a command."""
    return below.name.rpartition(" ")[2]


def _quoted(words: str) -> str:
    assert re.fullmatch(r"[\w -]+", words), words
    return f'"{words}"'


SHELLS: dict[str, Callable[[list[Node]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
