"""A machine of its own, with kernel and systemd, without network: qemu, with KVM if that works."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import time

import image

BOOT_LIMIT_S = 600
KVM_LIMIT_S = 10


@dataclasses.dataclass
class Outcome:
    code: int
    output: str


class Wire:
    """Lines of JSON over a unix socket that qemu listens on."""

    def __init__(self, path, limit_s):
        deadline = time.monotonic() + limit_s
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            with contextlib.suppress(OSError):
                self.socket.connect(str(path))
                break
            assert time.monotonic() < deadline, f"{path} is not there"
            time.sleep(0.05)
        self.pending = b""

    def send(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, limit_s):
        deadline = time.monotonic() + limit_s
        while b"\n" not in self.pending:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = self.socket.recv(65536)
            assert chunk, "qemu has ended"
            self.pending += chunk
        line, _, self.pending = self.pending.partition(b"\n")
        return json.loads(line)


def has_kvm(debian):
    """Whether a kernel comes to its first words soon. Some hypervisors offer a /dev/kvm that can do
    almost nothing by itself; emulating all of it is faster then."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    words = [
        "qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512",
        "-nodefaults", "-display", "none", "-nic", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", debian / "vmlinuz", "-append", "console=ttyS0 panic=-1",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            list(map(str, words)), capture_output=True, timeout=KVM_LIMIT_S, check=False
        )
        return b"Linux version" in done.stdout
    except subprocess.TimeoutExpired as slow:
        return b"Linux version" in (slow.stdout or b"")


class Machine:
    """Boots, runs commands, sleeps, boots again. What it does is written into a log."""

    def __init__(self, folder):
        self.folder = folder
        self.log = (image.FOLDER / "run.txt").open("w")
        self.began = time.monotonic()
        debian, payload = image.debian(), image.payload()
        self.has_kvm = has_kvm(debian)
        acceleration = ["-accel", "kvm", "-cpu", "host"] if self.has_kvm else ["-cpu", "max"]
        words = [
            "qemu-system-x86_64", "-M", "q35", *acceleration, "-smp", "2", "-m", "4096",
            "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
            "-global", "ICH9-LPC.disable_s3=0",
            "-kernel", debian / "vmlinuz", "-initrd", debian / "initrd",
            "-append", "root=/dev/vda rw console=ttyS0 quiet",
            "-drive", f"file={debian / 'root.ext4'},format=raw,if=virtio,snapshot=on",
            "-drive", f"file={payload},format=raw,if=virtio,readonly=on",
            "-serial", f"file:{folder / 'console.txt'}",
            "-device", "virtio-serial",
            "-chardev", f"socket,id=test,path={folder / 'test'},server=on,wait=off",
            "-device", "virtserialport,chardev=test,name=hearth.test",
            "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
        ]  # fmt: skip
        self.qemu = subprocess.Popen(list(map(str, words)), stderr=(folder / "qemu.txt").open("wb"))
        try:
            self.qmp = Wire(folder / "qmp", 20)
            self.qmp.receive(20)  # its greeting
            self.command("qmp_capabilities")
            self.wire = Wire(folder / "test", 20)
            self.boot = self._await_boot()
        except BaseException:
            self.end()
            raise

    def end(self):
        self.qemu.kill()
        self.qemu.wait()
        self.log.close()

    def command(self, name):
        """A command to qemu itself; events before its answer are passed over."""
        self.qmp.send({"execute": name})
        while True:
            message = self.qmp.receive(20)
            assert "error" not in message, message
            if "return" in message:
                return message["return"]

    def _await_boot(self):
        try:
            return self.wire.receive(BOOT_LIMIT_S)["boot"]
        except (TimeoutError, AssertionError) as error:
            console = (self.folder / "console.txt").read_text(errors="replace")[-3000:]
            raise AssertionError(f"the machine did not boot:\n{console}") from error

    def run(self, command, user="root", limit_s=300.0):
        """Runs a command in the machine; both streams of output together."""
        self.wire.send({"command": command, "user": user, "limit_s": limit_s})
        reply = self.wire.receive(limit_s + 60)
        assert "code" in reply, "the machine has booted unasked"
        return Outcome(reply["code"], reply["output"])

    def must(self, command, user="root", limit_s=300.0):
        """The output of a command that must not fail."""
        outcome = self.run(command, user, limit_s)
        assert outcome.code == 0, f"{command}: exit code {outcome.code}\n{outcome.output}"
        return outcome.output.strip()

    def until(self, command, what, limit_s=180.0):
        """Runs a command until it succeeds; its output."""
        deadline = time.monotonic() + limit_s
        while (outcome := self.run(command)).code != 0:
            assert time.monotonic() < deadline, f"{what}: not within {limit_s} s\n{outcome.output}"
            time.sleep(0.1)
        return outcome.output.strip()

    def show(self, unit, *names):
        """Properties of a unit, by name."""
        text = self.must(f"systemctl show {unit} -p {','.join(names)}")
        return dict(line.partition("=")[::2] for line in text.splitlines())

    def reboot(self):
        self.wire.send({"command": "systemctl reboot", "user": "root", "limit_s": 60})
        deadline = time.monotonic() + BOOT_LIMIT_S
        while "boot" not in (message := self.wire.receive(BOOT_LIMIT_S)):
            assert time.monotonic() < deadline
        assert message["boot"] != self.boot
        self.boot = message["boot"]

    def sleep_and_wake(self, limit_s=180.0):
        """Suspends to RAM, as closing a lid does, and wakes the machine up when it is asleep."""
        self.must("systemctl suspend")
        deadline = time.monotonic() + limit_s
        while self.command("query-status")["status"] != "suspended":
            assert time.monotonic() < deadline, self.must("journalctl -b -n 30 --no-pager")
            time.sleep(0.1)
        self.command("system_wakeup")

    def note(self, text, details=""):
        """A line of the log, with what belongs to it indented."""
        lines = [f"[{time.monotonic() - self.began:6.1f} s] {text}"]
        lines += [f"             {line}" for line in details.strip().splitlines()]
        print(*lines, sep="\n", file=self.log, flush=True)
