"""transformers as a peer: `peer_transformers.py FOLDER THREADS`, then requests as lines of JSON.

{"prompt": [ids], "new": n} answers with tokens_per_second of greedy decoding, the prompt's share
taken off, and the token_ids.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForImageTextToText


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).eval()
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([request["prompt"]])
        first, _ = run(model, ids, 1)
        whole, tokens = run(model, ids, request["new"])
        speed = (request["new"] - 1) / (whole - first)
        print(json.dumps({"tokens_per_second": speed, "token_ids": tokens}), flush=True)


def run(model, ids, new):
    began = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new,
            min_new_tokens=new, do_sample=False, pad_token_id=151643,
        )  # fmt: skip
    return time.perf_counter() - began, out[0, ids.shape[1] :].tolist()


if __name__ == "__main__":
    main()
