"""What jobs and clients have in common: a listing, and a word that ends one of what it lists."""

from __future__ import annotations

import argparse

from .tree import completes
from .values import number


def add_ending(parser: argparse.ArgumentParser, word: str, text: str, kind: str) -> None:
    """`WORD ID`. The id is `options.ended`, None where all are to be listed; text: what the word
    does; kind: of what, as `completes` knows it and as the command is called."""
    parser.set_defaults(ended=None)
    below = parser.add_subparsers(metavar="COMMAND")
    ending = below.add_parser(word, help=text, description=f"{text.capitalize()}.")
    one = ending.add_argument("ended", type=number, metavar="ID", help=f"from `hearth {kind}`")
    completes(one, kind)
