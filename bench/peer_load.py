"""Seconds that transformers takes to load a folder in bfloat16: `peer_load.py FOLDER THREADS`.

from_pretrained leaves weights in mapped files until they are first used, so that each of their
pages is touched once before the time is taken.
"""

import sys
import time

import torch
from transformers import AutoModelForImageTextToText

PAGE_BYTES = 4096


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    began = time.perf_counter()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    for parameter in model.parameters():
        parameter.detach().view(-1).view(torch.uint8)[::PAGE_BYTES].sum()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
