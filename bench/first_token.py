"""How long until the first token: cold, loaded, after a hit in a cache; and whether a service that
is ready is as fast as one that has served for a while.

    python bench/first_token.py MODEL_DIR [--side 512] [--weights bfloat16,int8]

Pictures of --side x --side pixels, random noise. Medians of --rounds; times in ms by the receipt,
from arrival in the service to the first token.
"""

import argparse
import sys

import harness
import served


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a Qwen3-VL folder")
    parser.add_argument("--weights", default="bfloat16,int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for weights in options.weights.split(","):
        with served.model(options.model, weights, "--threads", str(options.threads)) as model:
            figures = ready_and_steady(model, options) | pictures(model, options)
            figures |= loading(model)
        harness.record(f"first token {weights}", {"side": options.side, **figures})
    if len(options.weights.split(",")) > 1:
        harness.record("two models in turn", alternation(options))
    return 0


def first_token(model, *content):
    return model.generate(list(content), 1).receipt


def ready_and_steady(model, options):
    """The first request of all, and the median of those that follow it."""
    times = [
        model.read(128, unique=True).receipt.first_token_ms for _ in range(1 + 2 * options.rounds)
    ]
    steady = harness.median(times[1:])
    return {
        "first_request_ms": times[0],
        "steady_ms": steady,
        "first_to_steady": times[0] / steady,
    }


def pictures(model, options):
    cold, known, again, prefix = [], [], [], []
    for seed in range(options.rounds):
        image = served.picture(seed, options.side)
        cold.append(first_token(model, image, f"What is in picture {seed}?"))
        known.append(first_token(model, image, f"Which colours has number {seed}?"))
        again.append(first_token(model, image, f"Which colours has number {seed}?"))
        # Another text before it: no prefix is shared, but the picture is known.
        prefix.append(first_token(model, f"Look at number {seed}: ", image, "Well?"))
    times = {
        "new_picture": cold,
        "known_picture_new_question": known,
        "same_question": again,
        "known_picture_elsewhere": prefix,
    }
    figures = {
        f"{name}_ms": harness.median([each.first_token_ms for each in receipts])
        for name, receipts in times.items()
    }
    figures["prompt_tokens"] = cold[0].prompt_tokens
    figures["cached_tokens"] = known[0].cached_tokens
    figures["vision_ms"] = harness.median([each.vision_ms for each in cold])
    ratio = figures["known_picture_new_question_ms"] / figures["new_picture_ms"]
    return {**figures, "known_to_new": ratio}


def loading(model):
    """From files in the page cache to the first token."""
    model.client.unload(model.model)
    receipt = model.read(128, unique=True).receipt
    return {"load_ms": receipt.load_ms, "load_and_first_token_ms": receipt.first_token_ms}


def alternation(options):
    """Two models in turn, both resident, beside one of them alone."""
    weights = options.weights.split(",")[:2]
    with served.model(options.model, weights[0], "--threads", str(options.threads)) as model:
        other = model.client.offer_model(options.model, weights[1])
        model.client.load(other)
        alone = [model.read(128, unique=True) for _ in range(2 * options.rounds)]
        turns = []
        mine = model.model
        for _ in range(2 * options.rounds):
            model.model = other
            model.read(128, unique=True)
            model.model = mine
            turns.append(model.read(128, unique=True))
    alone_ms = harness.median([reply.receipt.first_token_ms for reply in alone])
    turns_ms = harness.median([reply.receipt.first_token_ms for reply in turns])
    loads = turns[-1].receipt.model_loads
    return {
        "alone_ms": alone_ms,
        "in_turn_ms": turns_ms,
        "ratio": turns_ms / alone_ms,
        "loads": loads,
    }


if __name__ == "__main__":
    sys.exit(main())
