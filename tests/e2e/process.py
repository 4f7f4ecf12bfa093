"""Processes of a test: started and ended, and what the kernel tells of them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path


@contextlib.contextmanager
def python_that_is_there(*arguments):
    """A Python with our path, from when it has said "there" to the end of the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout.readline() == b"there\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rss_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
