"""Load a model ahead of its first request.

With --dry-run it says what that would take, whether it fits and who would leave.
The model stays in memory when the command has ended, until another one needs the room.
"""

from __future__ import annotations

import argparse
import json

from .. import client, messages
from ..units import duration, size
from .models import MODEL_HELP, add_numerics, asked_model
from .output import answers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and whether to load it in earnest."""
    parser.add_argument("model", metavar="DIR|NAME", help=MODEL_HELP)
    add_numerics(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it takes and who would leave; load nothing"
    )


def run(options: argparse.Namespace) -> int:
    """One load, or the plan of one."""
    with client.connect(options.socket) as service:
        model = asked_model(service, options)
        done: messages.Struct = service.plan(model) if options.dry_run else service.load(model)
    if options.json:
        print(json.dumps(done.to_fields(), ensure_ascii=False))
    elif isinstance(done, messages.LoadPlan):
        answers().print("\n".join(_plan(done)), markup=False)
    elif isinstance(done, messages.ModelLoaded):
        how = "back from warm memory" if done.warm else "loaded"
        when = f"{how} in {duration(done.load_ms)}" if done.load_ms else "was loaded already"
        answers().print(f"{options.model} {when}: {size(done.resident_bytes)}", markup=False)
    return 0


def _plan(plan: messages.LoadPlan) -> list[str]:
    memory = plan.memory
    needed = memory.weights_bytes + memory.cache_bytes + memory.scratch_bytes
    lines = [
        f"needs        {size(needed)}: weights {size(memory.weights_bytes)}, caches "
        f"{size(memory.cache_bytes)}, scratch {size(memory.scratch_bytes)}",
        f"free         {size(plan.free_bytes)} of {size(plan.budget_bytes)}",
    ]
    if plan.leaving:
        lines.append(f"would leave  {', '.join(plan.leaving)}")
    if plan.at_work:
        lines.append(f"at work      {', '.join(plan.at_work)}")
    if plan.is_warm:
        lines.append("warm         its weights come back by a copy")
    verdict = "is loaded" if plan.is_hot else "fits" if plan.fits else "does not fit"
    return [*lines, f"it {verdict}"]
