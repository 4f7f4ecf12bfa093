"""llama.cpp as a peer: `peer_llama.py GGUF THREADS CONTEXT`, then requests as lines of JSON.

{"prompt": [ids]} fills the context and answers with prefill_tokens_per_second.
{"new": n, "seconds": s} decodes up to n tokens after it, but ends after s seconds, and goes back to
where it began.
"""

import json
import sys
import time

import llama_cpp


def main():
    gguf, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = llama_cpp.Llama(
        gguf, n_ctx=context, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    for line in sys.stdin:
        request = json.loads(line)
        answer = prefill(model, request) if "prompt" in request else decode(model, request)
        print(json.dumps(answer), flush=True)


def prefill(model, request):
    model.reset()
    began = time.perf_counter()
    model.eval(request["prompt"])
    return {"prefill_tokens_per_second": len(request["prompt"]) / (time.perf_counter() - began)}


def decode(model, request):
    """Any token will do: the time does not depend on it, and sampling is left out."""
    filled = model.n_tokens
    began = time.perf_counter()
    tokens = 0
    while tokens < request["new"] and time.perf_counter() - began < request["seconds"]:
        model.eval([1000 + tokens])
        tokens += 1
    elapsed = time.perf_counter() - began
    model.n_tokens = filled  # the next eval() overwrites what came after
    return {"tokens_per_second": tokens / elapsed}


if __name__ == "__main__":
    main()
