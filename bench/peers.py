"""The programs that hearth is timed against, each in a process of its own: a line of JSON in, a
line of JSON out. So a peer's threads, its memory and its crashes are its own."""

import json
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


class Peer:
    """One peer with its model resident. Use as a context manager."""

    def __init__(self, python, script, *arguments):
        self._command = [str(python), str(FOLDER / script), *map(str, arguments)]

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *failure):
        self._process.stdin.close()
        self._process.wait(60)

    def ask(self, **request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is reported below
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._command[1]} ended with {self._process.wait(60)}")
        return json.loads(line)


def llama(python, gguf, threads, context):
    """llama.cpp through llama-cpp-python."""
    return Peer(python, "peer_llama.py", gguf, threads, context)


def transformers(python, folder, threads):
    """transformers' generate in bfloat16."""
    return Peer(python, "peer_transformers.py", folder, threads)


class Hogs:
    """So many processes that do nothing but keep a core busy."""

    def __init__(self, count):
        self._count = count

    def __enter__(self):
        spin = ["python3", "-c", "while True: pass"]
        self._processes = [subprocess.Popen(spin) for _ in range(self._count)]

    def __exit__(self, *failure):
        for process in self._processes:
            process.kill()
            process.wait()
