"""Writes what is made from the node tables: the second half of each node's help page, and the names
and tooltips that ComfyUI translates (locales/en/nodeDefs.json).

    python client_py/node_pages.py          writes the files
    python client_py/node_pages.py --check  exits with 1 when one is not up to date

A help page's first half, up to the line `## Inputs`, is written by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hearth.nodes import all_nodes  # noqa: E402
from hearth.nodes._schema import Input, Node  # noqa: E402
from made_files import write_or_check  # noqa: E402

PAGES = HERE / "hearth" / "web" / "docs"
LOCALE = HERE.parent / "locales" / "en" / "nodeDefs.json"
BEGIN = "\n## Inputs\n"


def page_of(node: Node, written: str) -> str:
    """The help page, with the first half as it was written."""
    head = written.partition(BEGIN)[0].rstrip() or f"# {node.display_name}\n\n{node.description}"
    lines = [head, BEGIN, *(_input_line(one) for one in node.inputs), "\n## Outputs\n"]
    lines += [f"- **{output.name}**: {output.tooltip}" for output in node.outputs]
    return "\n".join(lines) + "\n"


def _input_line(given: Input) -> str:
    options = given.options
    said = []
    if "min" in options:
        said.append(f"{options['min']} to {options['max']}")
    if options.get("default") not in (None, ""):
        default = options["default"]
        said.append(
            f"default {'on' if default is True else 'off' if default is False else default}"
        )
    limits = f" ({', '.join(said)})" if said else ""
    return f"- **{given.name}**: {given.tooltip}{limits}"


def locale_of(nodes: list[Node]) -> dict[str, Any]:
    """As ComfyUI's front end reads it: inputs by name, outputs by number."""
    return {
        node.node_id: {
            "display_name": node.display_name,
            "description": node.description,
            "inputs": {one.name: {"name": one.name, "tooltip": one.tooltip} for one in node.inputs},
            "outputs": {
                str(index): {"name": output.name, "tooltip": output.tooltip}
                for index, output in enumerate(node.outputs)
            },
        }
        for node in nodes
    }


def files() -> dict[Path, str]:
    """What each file shall hold."""
    nodes = all_nodes()
    made = {LOCALE: json.dumps(locale_of(nodes), ensure_ascii=False, indent=1) + "\n"}
    for node in nodes:
        path = PAGES / f"{node.node_id}.md"
        made[path] = page_of(node, path.read_text(encoding="utf-8") if path.exists() else "")
    return made


if __name__ == "__main__":
    sys.exit(write_or_check(files()))
