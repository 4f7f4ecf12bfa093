"""Inside the machine: runs what the host asks for, a line of JSON each way over a virtio port."""

import json
import os
import signal
import subprocess
from pathlib import Path

PORT = "/dev/virtio-ports/hearth.test"


def main():
    port = os.open(PORT, os.O_RDWR)
    send(port, {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()})
    pending = b""
    while chunk := os.read(port, 65536):
        pending += chunk
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            send(port, answer(json.loads(line)))


def answer(request):
    """Runs request["command"] in a shell, as request["user"]; its output, both streams together."""
    words = ["/bin/sh", "-c", request["command"]]
    home = "/root"
    if request["user"] != "root":
        words = ["/sbin/runuser", "-u", request["user"], "--", *words]
        home = f"/home/{request['user']}"
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "HOME": home, "LANG": "C.UTF-8"},
    )
    try:
        output, _ = process.communicate(timeout=request["limit_s"])
        return {"code": process.returncode, "output": output.decode(errors="replace")}
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return {"code": 124, "output": output.decode(errors="replace")}


def send(port, message):
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(port, data) :]


main()
