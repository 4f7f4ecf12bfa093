"""Load a model ahead of its first request.

With --dry-run it says what that would take, whether it fits and who would leave. The model stays in
memory when the command has ended, until another one needs the room or it was idle for long; --pin
keeps it there.
"""

from __future__ import annotations

import argparse

from .. import client, messages
from ..units import duration, size
from .models import MODEL_HELP, add_numerics, asked_model
from .output import answers, print_json
from .progress import LoadProgress
from .tree import completes

EXAMPLES = (
    ("hearth load /models/Qwen3-VL-8B-Instruct --dtype int8 --dry-run", "does it fit?"),
    ("hearth load ember --pin", "load it, and keep it there"),
)
JSON = "`model_loaded`, with `pinned`; `load_plan` with --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and whether to load it in earnest."""
    model = parser.add_argument("model", metavar="DIR|NAME", help=MODEL_HELP)
    completes(model, "models")
    add_numerics(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--dry-run", action="store_true", help="say what it takes and who would leave; load nothing"
    )
    how.add_argument(
        "--pin", action="store_true", help="have it stay on the device (administrators)"
    )


def run(options: argparse.Namespace) -> int:
    """One load, or the plan of one."""
    with client.connect(options.socket) as service:
        model = asked_model(service, options)
        if options.dry_run:
            plan = service.plan(model)
            if options.json:
                print_json(plan)
            else:
                answers().print("\n".join(_plan(plan)), markup=False)
            return 0
        if options.pin:  # first: who may not shall not wait for a load
            service.pin(model)
        with LoadProgress(options.model) as progress:
            done = service.load(model, on_progress=progress)
    if options.json:
        print_json({**done.to_fields(), "pinned": options.pin})
    else:
        answers().print(_loaded(options, done), markup=False)
    return 0


def _loaded(options: argparse.Namespace, done: messages.ModelLoaded) -> str:
    how = "back from warm memory" if done.warm else "loaded"
    when = f"{how} in {duration(done.load_ms)}" if done.load_ms else "was loaded already"
    stays = ", pinned" if options.pin else ""
    return f"{options.model} {when}: {size(done.resident_bytes)}{stays}"


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
