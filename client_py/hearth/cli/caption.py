"""Describe pictures, each by an answer of its own.

Words go to stdout as they come, receipts and warnings to stderr. What is wrong with one picture
only is told there too; the others go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from typing import Any

from .. import client, errors, messages, presets
from ..chat import checked_options
from ..models import Model
from ..picture_files import check_picture, load_picture
from ..replies import Reply
from . import tell
from .models import MODEL_HELP, add_numerics, asked_model
from .tree import completes

EXAMPLES = (
    ("hearth caption holiday.png --model /models/Qwen3-VL-2B-Instruct", "words as they come"),
    ("hearth caption *.png --preset Tags --json > tags.jsonl", "one object a picture"),
)
JSON = (
    'a line for each picture: `{"picture", "text", "thinking", "token_ids", "stop_reason", '
    '"receipt": receipt, "warnings", …}`'
)
PROMPT = presets.QUESTIONS["Describe"]
_SAMPLING = (
    "max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
    "presence_penalty", "seed",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options; those of sampling come from the contract."""
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="PNG, JPEG, …")
    model = parser.add_argument(
        "--model", default="ember", metavar="DIR|NAME", help=f"{MODEL_HELP} (default: ember)"
    )
    completes(model, "models")
    add_numerics(parser)
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="take the answer of an earlier equal request where the service kept it",
    )
    parser.add_argument(
        "--receipt", action="store_true", help="also print where the time went, to stderr"
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--prompt", default=PROMPT, help=f"default: {PROMPT}")
    asked.add_argument(
        "--preset",
        choices=presets.QUESTIONS,
        metavar="NAME",
        help=f"a ready question: {', '.join(presets.QUESTIONS)}",
    )
    for name in _SAMPLING:
        declared = messages.widget("generate", name)
        default = 0.0 if name == "temperature" else declared["default"]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(declared["default"]),
            default=default,
            metavar="N",
            help=f"{declared['tooltip']} (default: {default})",
        )


def run(options: argparse.Namespace) -> int:
    """Captions all pictures over one connection. One that turns out to be damaged, or that the
    model cannot take, is told, and the others go on."""
    _check(options)
    code = 0
    with client.connect(options.socket) as service:
        model = asked_model(service, options)
        for path in options.pictures:
            code = _captioned(service, model, path, options) or code
    return code


def _captioned(
    service: client.Client, model: Model | str, path: str, options: argparse.Namespace
) -> int:
    """0, or the exit code of what is wrong with this picture only, which is told."""
    try:
        picture = load_picture(path)
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror or error}."
        return tell(errors.BadPicture(what, ""), options.json)
    try:
        _caption(service, model, path, picture, options)
    except errors.HearthError as error:
        if error.code not in errors.ABOUT_ONE_PICTURE:
            raise
        return tell(error.reworded(f"{path}: {error.what}", error.hint), options.json)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Before anybody is asked anything. Ends with 2."""
    warnings.filterwarnings("ignore", "Image size")  # of Pillow: these files are the user's own
    try:
        checked_options("generate", _sampling(options))
    except errors.BadRequest as error:
        options.usage_error(error.what)
    for path in options.pictures:
        try:
            check_picture(path)
        except OSError as error:
            options.usage_error(f"{path}: {error.strerror or error}")


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _SAMPLING}


def _caption(
    service: client.Client,
    model: Model | str,
    path: str,
    picture: memoryview,
    options: argparse.Namespace,
) -> None:
    from .progress import LoadProgress
    from .waiting import Waiting

    prompt = presets.QUESTIONS[options.preset] if options.preset else options.prompt
    chat = [{"role": "user", "content": [picture, prompt]}]
    with LoadProgress(str(options.model)) as progress:
        stream = service.generate(
            model, chat, True, reuse=options.reuse, on_progress=progress,
            interrupted=Waiting(service, options.json), **_sampling(options),
        )  # fmt: skip
        begun = next(stream, "")  # until here there may be a load to watch
    if options.json:
        _print_json(path, stream.reply)
    else:
        _print_words(path if len(options.pictures) > 1 else "", begun, stream)
    if options.receipt:
        _print_receipt(service, stream.reply)


def _print_json(path: str, reply: Reply) -> None:
    fields: dict[str, Any] = {"picture": path, **reply._asdict()}
    fields["receipt"] = reply.receipt.to_fields()
    text = json.dumps(fields, ensure_ascii=False, default=messages.Struct.to_fields)
    print(text, flush=True)


def _print_words(heading: str, begun: str, stream: client.Stream) -> None:
    from ..units import duration
    from .output import answers, problems
    from .tables import plain

    out, beside = answers(), problems()
    if heading:
        out.print(f"{heading}: ", style="bold", end="", markup=False)
    try:
        for piece in itertools.chain([begun], stream):
            out.file.write(plain(piece) if out.is_terminal else piece)  # as it is, tabs too
            out.file.flush()
    except errors.HearthError:
        out.print()  # the next picture begins a line
        raise
    out.print()
    reply = stream.reply
    for warning in reply.warnings:
        beside.print(f"warning: {warning}", style="yellow", markup=False)
    receipt = reply.receipt
    made = f"{receipt.generated_tokens} tokens"
    cached = f", {receipt.cached_tokens} of them cached" if receipt.cached_tokens else ""
    came = "back from warm memory" if receipt.warm_load else "loaded"
    parts = [
        f"first word after {duration(receipt.first_token_ms)}",
        f"{made}, kept from before"
        if receipt.replayed
        else f"{made} at {receipt.tokens_per_second:.0f}/s",
        f"{receipt.prompt_tokens} tokens read{cached}",
        *([f"{came} in {duration(receipt.load_ms)}"] if receipt.load_ms else []),
        *([f"on {receipt.device}"] if receipt.device else []),
        *(["cut at --max-tokens"] if reply.stop_reason == "max_tokens" else []),
    ]
    beside.print(" · ".join(parts), style="dim", markup=False)


def _print_receipt(service: client.Client, reply: Reply) -> None:
    from ..devices import device_named
    from ..receipts import describe
    from .output import problems

    device = device_named(service.status().devices, reply.receipt.device)
    problems().print(describe(reply, device), markup=False)
