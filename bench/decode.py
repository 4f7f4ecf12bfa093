"""Decode speed of one sequence beside transformers' generate: same weights, same prompt ids, same
threads, both resident, in turn.

    python bench/decode.py MODEL_DIR [--threads 2] [--pairs 5] [--context 128] [--new 64]

MODEL_DIR is a Qwen3-VL folder; bench/random_model.py makes one of real shape.
"""

import argparse
import json
import subprocess
import sys
import time

import harness

CHAT_TOKENS = 8  # what the chat layout adds to a text of one user turn


def main():
    options = parse_options()
    if options.peer:
        return peer(options)
    figures = {
        "context_tokens": options.context,
        "new_tokens": options.new,
        "threads": options.threads,
    }
    with (
        harness.service("--threads", str(options.threads), "--no-ember") as socket,
        harness.hearth.client.connect(socket) as client,
        start_peer(options) as transformers,
    ):
        model = client.offer_model(options.model)
        figures["load_s"] = load_seconds(client, model)
        figures |= compare(client, model, transformers, options)
        transformers.stdin.close()
    harness.record(f"decode {options.model.rstrip('/').rsplit('/', 1)[-1]}", figures)
    return 0


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def load_seconds(client, model):
    began = time.perf_counter()
    client.load(model)
    return time.perf_counter() - began


def start_peer(options):
    command = [sys.executable, __file__, options.model, "--peer", "--threads", str(options.threads)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def compare(client, model, transformers, options):
    """Interleaved pairs after one warm-up each. The peer is given our prompt ids."""
    text = "the" + " the" * (options.context - CHAT_TOKENS - 1)
    hearth_speed, peer_speed, prefill = [], [], []
    for turn in range(options.pairs + 1):
        reply = client.generate(model, [{"role": "user", "content": text}],
                                temperature=0.0, max_tokens=options.new)  # fmt: skip
        prompt = list(reply.prompt_token_ids)
        if len(reply.token_ids) != options.new:
            raise SystemExit(f"stopped after {len(reply.token_ids)} tokens: {reply.stop_reason}")
        transformers.stdin.write(json.dumps({"ids": prompt, "new": options.new}) + "\n")
        transformers.stdin.flush()
        answer = json.loads(transformers.stdout.readline())
        if turn == 0:
            continue
        hearth_speed.append(reply.receipt.tokens_per_second)
        prefill.append(reply.receipt.prefill_ms)
        peer_speed.append(answer["tokens_per_second"])
    same = sum(a == b for a, b in zip(reply.token_ids, answer["token_ids"], strict=True))
    ours, theirs = harness.median(hearth_speed), harness.median(peer_speed)
    return {
        "prompt_tokens": len(prompt),
        "hearth_tokens_per_second": ours,
        "transformers_tokens_per_second": theirs,
        "ratio": ours / theirs,
        "hearth_prefill_ms": harness.median(prefill),
        "equal_tokens": same,
    }


def peer(options):
    """transformers in a process of its own: a line of JSON in, a line out."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(options.threads)
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.bfloat16).eval()

    def run(ids, new):
        began = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new,
                min_new_tokens=new, do_sample=False, pad_token_id=151643,
            )  # fmt: skip
        return time.perf_counter() - began, out[0, ids.shape[1] :].tolist()

    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([request["ids"]])
        first, _ = run(ids, 1)
        whole, tokens = run(ids, request["new"])
        speed = (request["new"] - 1) / (whole - first)
        print(json.dumps({"tokens_per_second": speed, "token_ids": tokens}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
