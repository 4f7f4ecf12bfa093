"""The disks of the machine: a minimal Debian 12 with a kernel, and what is to be tested.

The first takes minutes and is kept in build/system; the second is made for each run. Making them
needs root, for files of other owners.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import world

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/system"
BUILD = Path(os.environ.get("HEARTH_BIN", ROOT / "build/release/bin")).parent
GUEST = Path(__file__).parent / "guest"

PACKAGES = """
systemd systemd-sysv udev kmod dbus dbus-user-session libpam-systemd initramfs-tools
linux-image-cloud-amd64 python3 python3-msgpack python3-numpy python3-rich python3-pil
libfmt9 libspdlog1.10 libpcre2-8-0 libutf8proc2 libgomp1 cmake
"""
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
}
AGENT_UNIT = """[Unit]
Description=The test's hand in this machine
RequiresMountsFor=/payload
[Service]
ExecStart=/usr/bin/python3 /payload/agent.py
Restart=always
[Install]
WantedBy=multi-user.target
"""


def what_is_missing():
    """Why the machine cannot be made here; None: it can."""
    tools = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if tools:
        return f"needs the packages {', '.join(tools)}"
    return None if os.geteuid() == 0 else "needs root to make a disk image"


def call(*words, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{words[0]}: {done.stderr[-2000:]}"
    return done.stdout


def debian():
    """The folder with vmlinuz, initrd and root.ext4; made when PACKAGES changes."""
    recipe = PACKAGES + AGENT_UNIT
    folder = FOLDER / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if (folder / "root.ext4").exists():
        return folder
    tree = folder / "root"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    small = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
    call(
        "mmdebstrap", "--variant=minbase", '--aptopt=Acquire::Languages "none"', *small,
        f"--include={','.join(PACKAGES.split())}", "bookworm", tree,
        "deb http://deb.debian.org/debian bookworm main", timeout=1800,
    )  # fmt: skip
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(next((tree / "boot").glob(f"{name}-*")), folder / name.partition(".")[0])
    unit = tree / "etc/systemd/system/hearth-test-agent.service"
    unit.write_text(AGENT_UNIT)
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    (wants / unit.name).symlink_to(f"/etc/systemd/system/{unit.name}")
    (tree / "etc/fstab").write_text("LABEL=payload /payload ext4 ro 0 0\n")
    (tree / "etc/hostname").write_text("guest\n")
    (tree / "payload").mkdir()
    write_disk(tree, folder / "part.ext4", "root", spare_mib=1500)
    (folder / "part.ext4").rename(folder / "root.ext4")
    shutil.rmtree(tree)
    return folder


def write_disk(tree, disk, label, spare_mib):
    used_kib = int(call("du", "-sk", tree).split()[0])
    disk.unlink(missing_ok=True)
    size = f"{used_kib * 11 // 10 + spare_mib * 1024}k"
    call("mkfs.ext4", "-q", "-L", label, "-d", tree, disk, size)


def cached(name):
    """A value of the build's CMake cache."""
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.partition("=")[2]
    raise AssertionError(f"{BUILD}/CMakeCache.txt has no {name}")


def torch_version():
    """The release of libtorch, as folders of it are called."""
    text = (Path(cached("HEARTH_TORCH_DIR")) / "version.py").read_text()
    return re.search(r"__version__ = '([0-9.]+)", text)[1]


def payload():
    """A disk with this repository, the build, libtorch as `site` and the pictures to describe."""
    folder = FOLDER / "payload"
    shutil.rmtree(folder, ignore_errors=True)
    tree = folder / "tree"
    listed = call("git", "-C", ROOT, "ls-files", "-z", "--", ".", ":!tests")
    for name in filter(None, listed.split("\0")):
        copy(ROOT / name, tree / name, follow_symlinks=False)
    build = folder / "build"
    for file in [*BUILD.rglob("cmake_install.cmake"), *(BUILD / "bin").iterdir()]:
        copy(file, build / file.relative_to(BUILD))
    site = Path(cached("HEARTH_TORCH_DIR")).parent
    for line in call("ldd", BUILD / "bin/hearth-worker").splitlines():
        library = Path(os.path.normpath(line.partition("=> ")[2].split(" (")[0] or "/"))
        if library.is_relative_to(site):
            copy(library, folder / "site" / library.relative_to(site))
    for seed in (20, 26):
        world.draw(seed)[0].save(folder / f"picture-{seed}.png")
    copy(GUEST / "agent.py", folder / "agent.py")
    write_disk(folder, FOLDER / "payload.ext4", "payload", spare_mib=16)
    shutil.rmtree(folder)
    return FOLDER / "payload.ext4"


def copy(file, to, **options):
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, to, **options)
