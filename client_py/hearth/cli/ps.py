"""List the models that the service knows.

What each takes of the device, since when it is idle and when it will leave, who holds it. Cold: its
files only; warm: its weights rest in pinned memory; hot: ready to answer.
"""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from .. import client, messages
from ..models import names_of
from ..units import duration, size
from .output import answers, print_json
from .tables import table

EXAMPLES = (("hearth ps", "what is in memory"), ("hearth ps --all", "cold models too"))
JSON = '`{"models": [model_entry, …]}`'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which of them."""
    parser.add_argument("-a", "--all", action="store_true", help="also those that are cold")


def run(options: argparse.Namespace) -> int:
    """One listing."""
    with client.connect(options.socket) as service:
        models = service.status().models  # list_models names only what this connection may use
    shown = [model for model in models if options.all or model.state != "cold"]
    if options.json:
        print_json({"models": [model.to_fields() for model in shown]})
    elif shown:
        answers().print(models_table(shown))
    else:
        cold = len(models) - len(shown)
        known = f"{cold} {'is' if cold == 1 else 'are'} known (--all lists them)"
        answers().print(f"No model is in memory; {known if cold else 'none is known'}.")
    return 0


def models_table(
    models: list[messages.ModelEntry], title: str = "", in_full: bool = False
) -> Table:
    """One line a model; in full also its id, its family and how often it was loaded."""
    more = ["ID", "FAMILY", ">LOADS"] if in_full else []
    made = table(
        title, "NAME", *more, "STATE", "TYPE", ">MEMORY", ">WARM", ">IDLE", ">LEAVES", ">HELD BY"
    )
    made.padding = (0, 1, 0, 0)  # names need the room
    for column in made.columns[1:]:
        column.no_wrap = True
    names = names_of(models)
    for model in models:
        made.add_row(
            names[model.model],
            *([model.model, model.family, str(model.loads)] if in_full else []),
            state_text(model.state),
            model.dtype,
            size(model.resident_bytes) if model.resident_bytes else "",
            size(model.image_bytes) if model.image_bytes else "",
            duration(model.idle_ms) if model.idle_ms and model.state == "hot" else "",
            leaves_text(model),
            f"{model.holders}, public" if model.is_public else str(model.holders),
        )
    return made


def state_text(state: str) -> Text:
    """What is in memory stands out."""
    style = {"hot": "green", "warm": "yellow", "loading": "cyan"}.get(state, "dim")
    return Text(state, style)


def leaves_text(model: messages.ModelEntry) -> str:
    """When it leaves the device because nobody uses it."""
    if model.pinned:
        return "pinned"
    return "" if model.leaves_in_ms is None else duration(model.leaves_in_ms)
