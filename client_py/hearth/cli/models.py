"""How the commands name a model."""

from __future__ import annotations

import argparse
import os

from .. import client, messages
from ..models import Model

MODEL_HELP = (
    "a model's folder or .safetensors file, or the name of a model that the service publishes"
)


def add_numerics(parser: argparse.ArgumentParser) -> None:
    """--dtype, --head and --attention of a model that is given as files."""
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=messages.widget("offer_model", "dtype")["choices"],
        help="what the weights of a model given as a folder or file are kept in (default: auto, as "
        "its files have them)",
    )
    parser.add_argument(
        "--head",
        default="auto",
        choices=messages.widget("offer_model", "head")["choices"],
        help="what its output layer is kept in when --dtype rounds (default: auto, int8)",
    )
    parser.add_argument(
        "--attention",
        default="auto",
        choices=messages.widget("offer_model", "attention")["choices"],
        help="who computes attention over prompts and pictures, to find faults with",
    )


def asked_model(service: client.Client, options: argparse.Namespace) -> Model | str:
    """A path is offered; anything else is a name."""
    given = str(options.model)
    if os.path.exists(given) or os.sep in given:
        return service.offer_model(
            given, options.dtype, head=options.head, attention=options.attention
        )
    return given
