"""A caption end to end: picture in, words out, by the embedded model.

    python bench/caption.py [--repeats 100]

One client; then four at once on the same model. Beside the client's own clock stands what the
receipt says the engine computed, so that the difference is the price of the service.
"""

import argparse
import sys
import threading
import time

import numpy

import harness
import hearth.client

sys.path.insert(0, str(harness.ROOT / "models/ember"))
import world  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    repeats = parser.parse_args().repeats
    with harness.service() as socket:
        with hearth.client.connect(socket) as client:
            caption(client, 0)  # loads the model
        walls, computed, speeds = run(socket, repeats)
        together = side_by_side(socket, clients=4, repeats=repeats // 4)
    harness.record(
        "caption",
        {
            "caption_p50_ms": harness.percentile(walls, 0.5),
            "caption_p99_ms": harness.percentile(walls, 0.99),
            "engine_p50_ms": harness.percentile(computed, 0.5),
            "service_p50_ms": harness.percentile(
                [wall - engine for wall, engine in zip(walls, computed, strict=True)], 0.5
            ),
            "decode_tokens_per_second": harness.median(speeds),
            "captions_per_second_1_client": 1000 * len(walls) / sum(walls),
            "captions_per_second_4_clients": together,
        },
    )


def caption(client, seed):
    image, _ = world.draw(seed)
    messages = [{"role": "user", "content": [numpy.asarray(image), world.PROMPT]}]
    began = time.perf_counter()
    reply = client.generate("ember", messages, temperature=0.0)
    return 1000 * (time.perf_counter() - began), reply.receipt


def run(socket, repeats):
    """Wall and engine milliseconds of each caption, and its decode speed."""
    walls, computed, speeds = [], [], []
    with hearth.client.connect(socket) as client:
        for seed in range(repeats):
            wall, receipt = caption(client, seed)
            walls.append(wall)
            stages = ("preprocess_ms", "vision_ms", "prefill_ms", "decode_ms")
            computed.append(sum(getattr(receipt, stage) for stage in stages))
            speeds.append(receipt.tokens_per_second)
    return walls, computed, speeds


def side_by_side(socket, clients, repeats):
    """Captions a second of several clients together."""
    threads = [threading.Thread(target=run, args=(socket, repeats)) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * repeats / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
