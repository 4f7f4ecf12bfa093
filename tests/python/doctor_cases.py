"""Checks of `hearth doctor` and what each must find, on machines made of words."""
# ruff: noqa: E501  (a table: a row is a line)

import stat

from hearth import doctor, messages
from hearth.doctor import cards, driver, host, machine, places, service
from hearth.version import VERSION

NVIDIA = "/proc/driver/nvidia/version"
KERNEL_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
SMI = ("nvidia-smi", "--query-gpu=" + ",".join(cards._FIELDS), "--format=csv,noheader,nounits")
APPS = (
    "nvidia-smi", "--query-compute-apps=pid,process_name,used_memory",
    "--format=csv,noheader,nounits",
)  # fmt: skip
XID = ("journalctl", "-k", "-b", "-q", "--no-pager", "-o", "cat", "-g", "NVRM: Xid")
SHOW = ("show", "hearthd.service", "-p", "LoadState,ActiveState,Result,NRestarts")
HERE = {
    "name": "H200", "persistence_mode": "Enabled", "pcie.link.width.current": "16",
    "pcie.link.width.max": "16", "pcie.link.gen.current": "5", "pcie.link.gen.max": "5",
    "power.limit": "700.00", "power.default_limit": "700.00",
    "clocks_throttle_reasons.active": "0x0000000000000000",
    "ecc.errors.uncorrected.volatile.total": "0", "memory.total": "143771", "temperature.gpu": "40",
}  # fmt: skip
GPU = messages.Device(kind="cuda", name="H200", compute_capability="9.0", built_for=["8.0", "9.0"])
SOCKET = "/run/hearth/hearth.sock"


class Fake(machine.Machine):
    """Files by path, programs by their words."""

    def __init__(self, files=None, programs=None, closed=(), **more):
        self.files, self.programs, self.closed = files or {}, programs or {}, set(closed)
        self.more = {
            "env": {}, "home": "/home/u", "cwd": "/", "uid": 1000, "memlock": 1 << 30, "seals": True,
            "pidfd": True, "peers": True, "listener": None, "free": 50 << 30, "shm": 8 << 30, **more,
        }  # fmt: skip

    env = property(lambda self: self.more["env"])
    home = property(lambda self: self.more["home"])
    cwd = property(lambda self: self.more["cwd"])
    uid = property(lambda self: self.more["uid"])
    groups = property(lambda self: {1000})

    def group_name(self, gid):
        return {44: "video", 7: "hearth"}.get(gid, str(gid))

    def read(self, path):
        found = self.files.get(path)
        return found if isinstance(found, str) else None

    def names(self, folder):
        start = folder.rstrip("/") + "/"
        return sorted({p[len(start) :].split("/")[0] for p in self.files if p.startswith(start)})

    def state(self, path):
        found = self.files.get(path)
        if isinstance(found, machine.FileState):
            return found
        is_there = found is not None or self.names(path) or path == "/"
        return machine.FileState(stat.S_IFREG | 0o644, 1000, 1000) if is_there else None

    def may(self, path, writing=False):
        return path not in self.closed

    def link(self, path):
        return self.files.get(path, "")

    def real(self, path):
        return path

    def listener(self, path):
        return self.more["listener"]

    def free_bytes(self, path):
        return self.more["free"]

    def total_bytes(self, path):
        return self.more["shm"]

    def run(self, *command):
        return self.programs.get(command)

    def memlock_bytes(self):
        return self.more["memlock"]

    def can_seal_memory(self):
        return self.more["seals"]

    def can_watch_processes(self):
        return self.more["pidfd"]

    def can_name_peers(self):
        return self.more["peers"]


def node(major):
    return machine.FileState(stat.S_IFCHR | 0o666, 0, 44, major)


NODES = {path: node(195) for path in ("/dev/nvidiactl", "/dev/nvidia0")} | {
    "/dev/nvidia-uvm": node(510)
}
DRIVER = {
    NVIDIA: KERNEL_MODULE,
    "/proc/devices": "Character devices:\n195 nvidia\n510 nvidia-uvm\n",
    "/proc/modules": "nvidia_uvm 4947968 2 - Live 0x0\nnvidia 123 1 nvidia_uvm\n",
    **NODES,
}


def card(**changed):
    fields = {**HERE, **{name.replace("__", "."): value for name, value in changed.items()}}
    return {SMI: ", ".join(fields[name] for name in cards._FIELDS) + "\n"}


def seen(socket=SOCKET, **fields):
    report = messages.StatusReport(
        **{"server": f"hearthd {VERSION}", "boot_id": "b", "uptime_ms": 1, "worker_state": "ready",
           "health": "warm", "worker_pid": 40, **fields}
    )  # fmt: skip
    return doctor.Seen(report, "", socket)


def socket_file(mode=0o660, gid=7):
    return machine.FileState(stat.S_IFSOCK | mode, 0, gid)


def unit(**fields):
    lines = {"LoadState": "loaded", "ActiveState": "active", "Result": "success", "NRestarts": "0"}
    return "\n".join(f"{name}={value}" for name, value in {**lines, **fields}.items())


DOWN = doctor.Seen(None, "No hearth service answers.", SOCKET)
SILENT = doctor.Seen(None, "It has not answered.", SOCKET, is_silent=True)
ONE = messages.Device(kind="cpu", name="a CPU")
NONE = messages.Device(kind="none")
COMFY = {f"/home/u/ComfyUI/{name}": "x" for name in ("main.py", "nodes.py", "comfy/x.py")}
PACK = "/home/u/ComfyUI/custom_nodes/hearth"


def pack(version):
    return {
        **COMFY,
        f"{PACK}/client_py/hearth/version.py": f'"""x"""\nVERSION = "{version}"\n',
        f"{PACK}/client_py/hearth/comfy_api.py": "x",
    }


# check, machine, what the service said, level, words of what is found or of its fix
CASES = [
    (driver.check_driver, Fake(DRIVER), seen(), "ok", "580.95, enough for CUDA 13"),
    (driver.check_driver, Fake(), DOWN, "note", "processor"),
    (
        driver.check_driver,
        Fake({"/sys/bus/pci/devices/0/vendor": "0x10de\n", "/sys/bus/pci/devices/0/class": "0x0300"}),
        DOWN, "problem", "not loaded",
    ),
    (
        driver.check_driver, Fake({NVIDIA: KERNEL_MODULE.replace("580.95", "550.54")}), seen(),
        "problem", "550.54 is too old: CUDA 13 needs 580.65",
    ),
    (
        driver.check_driver,
        Fake({NVIDIA: KERNEL_MODULE.replace("580.95", "550.54"), "/proc/40/maps": "/x/libcudart.so.12\n"}),
        seen(), "ok", "CUDA 12",
    ),
    (driver.check_nodes, Fake(DRIVER), seen(), "ok", "/dev/nvidia-uvm"),
    (driver.check_nodes, Fake(), seen(), "skipped", ""),
    (
        driver.check_nodes, Fake({NVIDIA: KERNEL_MODULE, "/dev/nvidiactl": node(195)}), seen(),
        "problem", "missing: /dev/nvidia0, /dev/nvidia-uvm",
    ),
    (
        driver.check_nodes, Fake({**DRIVER, "/dev/nvidia-uvm": node(9)}), seen(), "problem",
        "major number 9",
    ),
    (driver.check_nodes, Fake(DRIVER, closed=["/dev/nvidia0"]), seen(), "problem", "usermod -aG video"),
    (driver.check_uvm, Fake(DRIVER), seen(), "ok", "loaded"),
    (driver.check_uvm, Fake({NVIDIA: KERNEL_MODULE}), seen(), "ok", "does not list"),
    (
        driver.check_uvm, Fake({**DRIVER, "/proc/modules": "nvidia 1 1 -\n"}), seen(), "problem",
        "modprobe nvidia_uvm",
    ),
    (driver.check_uvm, Fake(), seen(), "skipped", ""),
    (driver.check_code, Fake(), seen(devices=[GPU]), "ok", "H200 9.0: exact"),
    (
        driver.check_code, Fake(),
        seen(devices=[messages.Device(kind="cuda", name="A6000", compute_capability="8.6", built_for=["8.0"])]),
        "ok", "of the same generation",
    ),
    (
        driver.check_code, Fake(),
        seen(devices=[messages.Device(kind="cuda", name="RTX 5090", compute_capability="12.0", built_for=["8.0", "9.0"])]),
        "problem", "-DHEARTH_CUDA_ARCHITECTURES=120",
    ),
    (
        driver.check_code, Fake(),
        seen(devices=[messages.Device(kind="cuda", name="A100", compute_capability="8.0", built_for=["8.6"])]),
        "problem", "code for 8.6",
    ),
    (
        driver.check_code, Fake(), seen(devices=[messages.Device(kind="cuda", name="X")]), "note",
        "does not say",
    ),
    (driver.check_code, Fake(), seen(devices=[ONE]), "skipped", ""),
    (driver.check_xids, Fake(DRIVER, {XID: ""}), seen(), "ok", "none since"),
    (driver.check_xids, Fake(DRIVER), seen(), "note", "cannot be searched"),
    (driver.check_xids, Fake(), seen(), "skipped", ""),
    (
        driver.check_xids, Fake(DRIVER, {XID: "NVRM: Xid (PCI:0000:01:00): 31, pid=1\n" * 2}), seen(),
        "warning", "2 since the start, the last: Xid 31",
    ),
    (
        driver.check_xids, Fake(DRIVER, {XID: "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen\n"}),
        seen(), "problem", "fallen off the bus",
    ),
    (cards.check_ecc, Fake(), seen(), "skipped", ""),
    (cards.check_ecc, Fake(programs=card()), seen(), "ok", "no uncorrectable"),
    (cards.check_ecc, Fake(programs=card(ecc__errors__uncorrected__volatile__total="[N/A]")), seen(), "ok", ""),
    (
        cards.check_ecc, Fake(programs=card(ecc__errors__uncorrected__volatile__total="3")), seen(),
        "problem", "3 uncorrectable",
    ),
    (cards.check_throttle, Fake(programs=card()), seen(), "ok", "none now"),
    *[
        (
            cards.check_throttle,
            Fake(programs=card(clocks_throttle_reasons__active=f"0x{bit:016x}", temperature__gpu="91")),
            seen(), "warning", words[0],
        )
        for bit, words in cards._THROTTLES.items()
    ],
    (cards.check_throttle, Fake(programs=card(clocks_throttle_reasons__active="0x0000000000000001")), seen(), "ok", ""),
    (cards.check_throttle, Fake(), seen(), "skipped", ""),
    (cards.check_power, Fake(programs=card()), seen(), "ok", "700 W"),
    (cards.check_power, Fake(programs=card(power__limit="350.00")), seen(), "note", "350 W of its usual 700 W"),
    (cards.check_power, Fake(), seen(), "skipped", ""),
    (cards.check_link, Fake(programs=card()), seen(), "ok", "16 lanes, generation 5 of 5"),
    (cards.check_link, Fake(programs=card(pcie__link__width__current="4")), seen(), "warning", "4 of 16 PCIe lanes"),
    (cards.check_link, Fake(), seen(), "skipped", ""),
    (
        cards.check_bar,
        Fake(programs={("nvidia-smi", "-q", "-d", "MEMORY"): "Total : 24564 MiB\n Total : 256 MiB"}),
        seen(), "note", "window of 256 MiB",
    ),
    (
        cards.check_bar,
        Fake(programs={("nvidia-smi", "-q", "-d", "MEMORY"): "Total : 24564 MiB\n Total : 32768 MiB"}),
        seen(), "ok", "on",
    ),
    (cards.check_bar, Fake(), seen(), "skipped", ""),
    (cards.check_persistence, Fake(programs=card()), seen(), "ok", "on"),
    (cards.check_persistence, Fake(programs=card(persistence_mode="Disabled")), seen(), "note", "nvidia-persistenced"),
    (cards.check_persistence, Fake(), seen(), "skipped", ""),
    (
        cards.check_others, Fake(programs={**card(), APPS: "40, /x/hearth-worker, 90000\n7, /y/python, 512\n"}),
        seen(), "ok", "python (7) 512 MiB",
    ),
    (
        cards.check_others, Fake(programs={**card(), APPS: "7, /y/python, 90000\n"}), seen(), "warning",
        "other programs hold 87.9 GiB",
    ),
    (cards.check_others, Fake(programs=card()), DOWN, "ok", "no other program"),
    (cards.check_others, Fake(), seen(), "skipped", ""),
    (host.check_seals, Fake(), seen(), "ok", "memfd"),
    (host.check_seals, Fake(seals=False), seen(), "problem", "Linux 5.1"),
    (host.check_pidfd, Fake(), seen(), "ok", "SO_PEERPIDFD"),
    (host.check_pidfd, Fake(peers=False), seen(), "ok", "no SO_PEERPIDFD"),
    (host.check_pidfd, Fake(pidfd=False), seen(), "warning", "Linux 5.3"),
    (host.check_memlock, Fake(), seen(devices=[GPU]), "ok", "1.0 GiB of this user"),
    (host.check_memlock, Fake(memlock=-1), seen(devices=[GPU]), "ok", "no limit"),
    (host.check_memlock, Fake(memlock=8 << 20), seen(devices=[GPU]), "note", "LimitMEMLOCK"),
    (
        host.check_memlock, Fake({"/proc/40/limits": "Max locked memory   unlimited   unlimited   bytes"}),
        seen(devices=[GPU]), "ok", "no limit of the engine",
    ),
    (
        host.check_memlock, Fake({"/proc/40/limits": "Max locked memory   65536   65536   bytes"}), seen(devices=[GPU]),
        "note", "64.0 KiB of the engine",
    ),
    (host.check_memlock, Fake(), seen(devices=[ONE]), "skipped", ""),
    (host.check_shm, Fake(), seen(), "ok", "8.0 GiB"),
    (host.check_shm, Fake(shm=64 << 20), seen(), "note", "--shm-size"),
    (host.check_shm, Fake(shm=None), seen(), "warning", "mount -t tmpfs"),
    (host.check_memory, Fake({"/sys/fs/cgroup/memory.max": "max\n"}), seen(), "ok", "no limit"),
    (host.check_memory, Fake({"/sys/fs/cgroup/memory.max": str(1 << 30)}), seen(), "warning", "docker run --memory"),
    (host.check_memory, Fake({"/sys/fs/cgroup/memory.max": str(64 << 30)}), seen(), "ok", "64.0 GiB"),
    (host.check_unit, Fake(), seen(), "ok", "no unit is installed"),
    (host.check_unit, Fake(programs={("systemctl", "--user", *SHOW): unit()}), seen(), "ok", "user unit active"),
    (host.check_unit, Fake(programs={("systemctl", *SHOW): unit(LoadState="not-found")}), seen(), "ok", "no unit"),
    (
        host.check_unit, Fake(programs={("systemctl", *SHOW): unit(ActiveState="failed", Result="exit-code"),
        ("journalctl", "-u", "hearthd.service", "-p", "warning", "-n", "1", "-q", "--no-pager", "-o", "cat"): "no GPU\n"}),
        seen(), "problem", "system unit has failed (exit-code): no GPU",
    ),
    (
        host.check_unit, Fake(programs={("systemctl", "--user", *SHOW): unit(NRestarts="3")}), seen(),
        "warning", "again 3 times: its log says nothing",
    ),
    (host.check_sleep, Fake(), seen(), "skipped", ""),
    (host.check_sleep, Fake(), seen(devices=[GPU]), "note", "hearth suspend"),
    (
        host.check_sleep, Fake(programs={("systemctl", "is-enabled", "hearth-sleep.service"): "enabled\n"}),
        seen(devices=[GPU]), "ok", "enabled",
    ),
    (service.check_socket, Fake({SOCKET: socket_file()}), seen(), "ok", "mode 0660, group hearth"),
    (service.check_socket, Fake(), DOWN, "warning", "hearth up"),
    (service.check_socket, Fake({SOCKET: "text"}), DOWN, "problem", "is no socket"),
    (service.check_socket, Fake({SOCKET: socket_file()}, closed=[SOCKET]), DOWN, "problem", "usermod -aG hearth"),
    (service.check_socket, Fake({SOCKET: socket_file(0o700)}, closed=[SOCKET]), DOWN, "problem", "another user's own (mode 0700"),
    (service.check_answer, Fake(), seen(), "ok", f"hearthd {VERSION}"),
    (service.check_answer, Fake(), seen(server="hearthd 9.9.9"), "warning", "the service is 9.9.9"),
    (service.check_answer, Fake(), DOWN, "skipped", ""),
    (service.check_answer, Fake({SOCKET: socket_file()}), DOWN, "warning", "No hearth service answers."),
    (service.check_answer, Fake({SOCKET: socket_file(), "/proc/40/comm": "hearthd\n"}, listener=40), DOWN, "warning", "No hearth service answers."),
    (service.check_answer, Fake({SOCKET: socket_file(), "/proc/40/comm": "hearthd\n"}, listener=40), SILENT, "problem", "restart hearthd, or kill -9 40"),
    (service.check_answer, Fake({SOCKET: socket_file(), "/proc/1/comm": "systemd\n"}, listener=1), SILENT, "problem", "process 1 (systemd) takes connections"),
    (service.check_answer, Fake({SOCKET: socket_file()}), SILENT, "warning", "hearth up"),
    (service.check_health, Fake(), seen(), "ok", "warm"),
    (service.check_health, Fake(), DOWN, "skipped", ""),
    (service.check_health, Fake(), seen(health="failed", health_reasons=["it died"]), "problem", "it died"),
    (service.check_health, Fake(), seen(worker_restarts=2), "warning", "lost 2 times"),
    (service.check_health, Fake(), seen(mode="drained"), "warning", "hearth resume"),
    (service.check_quarantine, Fake(), seen(), "ok", ""),
    (service.check_quarantine, Fake(), DOWN, "skipped", ""),
    (
        service.check_quarantine, Fake(),
        seen(quarantined=[messages.QuarantineEntry(model="m", name="Bad", operation="load", deaths=2, left_ms=1)]),
        "warning", "Bad",
    ),
    (service.check_engine, Fake(), DOWN, "skipped", ""),
    (service.check_engine, Fake(), seen(worker_state="failed"), "problem", "hearth setup"),
    (service.check_engine, Fake(), seen(devices=[NONE]), "problem", "without libtorch"),
    (service.check_engine, Fake({NVIDIA: KERNEL_MODULE}), seen(devices=[ONE]), "warning", "computes on the processor"),
    (service.check_engine, Fake(), seen(devices=[ONE]), "ok", "cannot be seen"),
    (service.check_engine, Fake(), seen(), "note", "has not said"),
    (
        service.check_engine, Fake({"/proc/40/maps": "7f r-xp /opt/t/libtorch_cpu.so\n"}), seen(devices=[ONE]),
        "warning", "replaced or removed",
    ),
    (
        service.check_engine,
        Fake({"/proc/40/maps": "7f r-xp /opt/t/libtorch_cpu.so\n", "/opt/t/libtorch_cpu.so": "x"}),
        seen(devices=[ONE]), "ok", "/opt/t/libtorch_cpu.so",
    ),
    (places.check_compute_cache, Fake(), seen(), "skipped", ""),
    (places.check_compute_cache, Fake(), seen(devices=[GPU]), "ok", "/home/u/.nv/ComputeCache"),
    (
        places.check_compute_cache, Fake({"/proc/40/environ": "CUDA_CACHE_DISABLE=1\0A=b\0"}),
        seen(devices=[GPU]), "warning", "switched off",
    ),
    (
        places.check_compute_cache, Fake(env={"CUDA_CACHE_MAXSIZE": "1000"}), seen(devices=[GPU]), "warning",
        "may hold 1000 B",
    ),
    (
        places.check_compute_cache,
        Fake({"/proc/40/environ": "CUDA_CACHE_PATH=/c/nv\0", "/proc/40/status": "Uid:\t1000\t1000\n", "/c/x": "y"}, closed=["/c"]),
        seen(devices=[GPU]), "warning", "/c/nv cannot be written",
    ),
    (places.check_room, Fake(), seen(socket="/x"), "ok", "/home/u/.cache/hearth: 50.0 GiB left"),
    (places.check_room, Fake(free=1 << 30), seen(), "warning", "1.0 GiB left on the disk of /var/cache/hearth"),
    (places.check_room, Fake(free=None), seen(), "ok", "unknown"),
    (places.check_packs, Fake(), seen(), "skipped", ""),
    (places.check_packs, Fake({**COMFY, "/home/u/ComfyUI/custom_nodes/x.py": "x"}), seen(), "note", "hearth install-nodes /home/u/ComfyUI"),
    (places.check_packs, Fake(pack(VERSION)), seen(), "ok", f"1 of version {VERSION}"),
    (places.check_packs, Fake(pack("0.0.9")), seen(), "warning", f"{PACK}: 0.0.9"),
]  # fmt: skip
