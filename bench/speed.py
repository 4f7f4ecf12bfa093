"""How fast hearth reads and writes, beside llama.cpp and transformers: same shapes, same threads,
in turn within one run.

    python bench/random_model.py 2b /tmp/2b --tokenizer DIR     # once: random weights, real shape
    python bench/export_gguf.py /tmp/2b /tmp/2b/gguf            # once: the same for llama.cpp
    python bench/speed.py /tmp/2b --gguf /tmp/2b/gguf [--parts decode,hogs,…] [--weights int8,…]

Parts: decode (one sequence, at 128 tokens of context and at --long), hogs (the same beside one and
two processes that keep a core busy), prefill (512 tokens), batch (8 sequences at 256 tokens),
captions (8 pictures end to end, one after the other and at once).
Every figure is the median of --rounds; hearth and its peer take turns within a round.
--llama-python names an interpreter that has llama-cpp-python, --plain leaves transformers out.
"""

import argparse
import sys
import time

import harness
import peers
import served

# What hearth calls the weights, and the file of llama.cpp that has as many bits.
GGUF = {"bfloat16": "bf16", "int8": "q8_0", "int4": "q4_0"}
LLAMA_SECONDS = 12  # beside hogs llama.cpp may take a second for a token


def main():
    options = parse_options()
    for weights in options.weights.split(","):
        with served.model(options.model, weights, "--threads", str(options.threads)) as model:
            for part in options.parts.split(","):
                figures = PARTS[part](options, weights, model)
                harness.record(f"speed {part} {weights}", {"threads": options.threads, **figures})


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a Qwen3-VL folder")
    parser.add_argument("--gguf", required=True, help="prefix given to export_gguf.py")
    parser.add_argument("--parts", default="decode,prefill,batch,captions,hogs")
    parser.add_argument("--weights", default="bfloat16,int8,int4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new", type=int, default=48, help="tokens decoded in a round")
    parser.add_argument("--long", type=int, default=4000, help="context of the second decode")
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--plain", action="store_true", help="without transformers")
    return parser.parse_args()


# --- parts ------------------------------------------------------------------------------------


def decode(options, weights, model):
    figures = {}
    for context in (128, options.long):
        with llama(options, weights, context) as peer:
            figures |= decode_beside(options, model, peer, context, f"at_{context}_")
    if weights == "bfloat16" and not options.plain:
        with peers.transformers(sys.executable, options.model, options.threads) as peer:
            figures |= decode_beside_transformers(options, model, peer)
    return figures


def hogs(options, weights, model):
    """Decode at 128 tokens of context, quiet and beside busy neighbours."""
    figures = {}
    with llama(options, weights, 128) as peer:
        for count in (0, 1, 2):
            with peers.Hogs(count):
                figures |= decode_beside(options, model, peer, 128, f"{count}_hogs_")
    for name in ("hearth", "llama"):
        quiet = figures[f"0_hogs_{name}_tokens_per_second"]
        for count in (1, 2):
            share = figures[f"{count}_hogs_{name}_tokens_per_second"] / quiet
            figures[f"{count}_hogs_{name}_share_of_quiet"] = share
    return figures


def prefill(options, weights, model, tokens=512):
    ours, theirs = [], []
    with llama(options, weights, tokens) as peer:
        for turn in range(options.rounds + 1):
            reply = model.read(tokens, unique=True)
            receipt = reply.receipt
            if receipt.cached_tokens >= served.CHAT_TOKENS:
                raise SystemExit("a prompt of its own was found in the prefix cache")
            answer = peer.ask(prompt=list(reply.prompt_token_ids))
            if turn > 0:
                computed = receipt.prompt_tokens - receipt.cached_tokens
                ours.append(1000 * computed / receipt.prefill_ms)
                theirs.append(answer["prefill_tokens_per_second"])
    return beside("prefill_", ours, theirs, "llama")


def batch(options, weights, model, rows=8, context=256):
    """Tokens a second of all sequences, over those of one alone: while all of them decode, and of
    the whole burst, its beginning and its end included."""
    words = [served.text(context, row) for row in range(rows)]
    for text in words:
        model.generate(text, 1)  # the prompts are in the prefix cache from here on
    alone = [model.generate(words[0], options.new) for _ in range(options.rounds)]
    bursts = [model.generate_together(words, 2 * options.new) for _ in range(options.rounds)]
    one = harness.median([reply.receipt.tokens_per_second for reply in alone])
    every = harness.median([burst.tokens_per_second_of_all() for burst in bursts])
    whole = harness.median([burst.tokens_per_second() for burst in bursts])
    ids = alone[0].token_ids
    same = all(burst.replies[0].token_ids[: len(ids)] == ids for burst in bursts)
    return {
        "rows": rows,
        "context_tokens": context,
        "one_row_tokens_per_second": one,
        "all_rows_tokens_per_second": every,
        "ratio": every / one,
        "whole_burst_tokens_per_second": whole,
        "whole_burst_ratio": whole / one,
        "same_tokens_in_company": same,
    }


def captions(options, weights, model, rows=8, side=512):
    """New pictures and an answer about each, one after the other and at once: end to end."""

    def questions(first):
        return [[served.picture(first + row, side), "Describe it."] for row in range(rows)]

    alone, together = [], []
    for turn in range(options.rounds):
        began = time.perf_counter()
        for question in questions(100 * turn):
            model.generate(question, options.new)
        alone.append(rows / (time.perf_counter() - began))
        burst = model.generate_together(questions(100 * turn + 50), options.new)
        together.append(rows / burst.seconds)
    return {
        "side": side,
        "answer_tokens": options.new,
        "one_after_the_other_per_minute": 60 * harness.median(alone),
        f"{rows}_at_once_per_minute": 60 * harness.median(together),
        "ratio": harness.median([a / b for a, b in zip(together, alone, strict=True)]),
    }


PARTS = {"decode": decode, "hogs": hogs, "prefill": prefill, "batch": batch, "captions": captions}


# --- one round of each ------------------------------------------------------------------------


def decode_beside(options, model, peer, context, prefix):
    prompt = list(model.read(context).prompt_token_ids)
    peer.ask(prompt=prompt)
    ours, theirs = [], []
    for turn in range(options.rounds + 1):
        speed = model.read(context, options.new).receipt.tokens_per_second
        answer = peer.ask(new=options.new, seconds=LLAMA_SECONDS)
        if turn > 0:
            ours.append(speed)
            theirs.append(answer["tokens_per_second"])
    return beside(prefix, ours, theirs, "llama")


def decode_beside_transformers(options, model, peer):
    ours, theirs = [], []
    for turn in range(options.rounds + 1):
        reply = model.read(128, options.new)
        answer = peer.ask(prompt=list(reply.prompt_token_ids), new=options.new)
        if turn > 0:
            ours.append(reply.receipt.tokens_per_second)
            theirs.append(answer["tokens_per_second"])
    same = sum(a == b for a, b in zip(reply.token_ids, answer["token_ids"], strict=True))
    figures = beside("beside_transformers_", ours, theirs, "transformers")
    return {**figures, "tokens_as_transformers": f"{same} of {options.new}"}


def beside(prefix, ours, theirs, peer):
    ratio = harness.median([a / b for a, b in zip(ours, theirs, strict=True)])
    return {
        f"{prefix}hearth_tokens_per_second": harness.median(ours),
        f"{prefix}{peer}_tokens_per_second": harness.median(theirs),
        f"{prefix}ratio": ratio,
    }


def llama(options, weights, context):
    gguf = f"{options.gguf}-{GGUF[weights]}.gguf"
    return peers.llama(options.llama_python, gguf, options.threads, context + options.new + 16)


if __name__ == "__main__":
    sys.exit(main())
