"""The deb on a clean Debian 12: installed, set up, asked for a caption, purged. Downloads half a
gigabyte once a machine."""

import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
from debian_root import CACHE, DebianRoot, missing
from installed import draw_picture, running, wait_for
from release import Made

from hearth import hub_transfer, libtorch

pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(bool(missing()), reason=missing() or "a root can be made"),
]
SOCKET = "/run/hearth/hearth.sock"
CAPTION = f"hearth caption picture.png --model ember --socket {SOCKET}"


@pytest.fixture(scope="module")
def root(made: Made, tmp_path_factory) -> DebianRoot:
    """With what the package depends on, the package itself beside."""
    root = DebianRoot(tmp_path_factory.mktemp("debian") / "root")
    shutil.copy(made.deb, root.folder / "hearth.deb")
    root.run("apt-get update -q")
    root.run("apt-get install -qy --no-install-recommends systemd ca-certificates")
    # Its dependencies come with it and stay when it goes.
    root.run("apt-get install -qy --no-install-recommends ./hearth.deb && dpkg --purge hearth")
    return root


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def mirror():
    """Where the pinned files lie, fetched once a machine."""
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in libtorch.plan("cpu", Path("/nowhere")).wheels:
        part = folder / wheel.name
        if not part.exists() or part.stat().st_size != wheel.nbytes:
            file = hub_transfer.HubFile(wheel.name, wheel.nbytes, wheel.sha256, "")
            hub_transfer.bring(wheel.url, {}, file, part, (lambda _: None, threading.Event()))
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def status_of(root: DebianRoot) -> dict:
    said = root.run(f"hearth status --json --socket {SOCKET} || true")
    return json.loads(said) if said.startswith("{") else {}


def test_from_installing_to_a_caption_to_nothing_left(root: DebianRoot, mirror, tmp_path):
    before = root.files()
    said = root.run("apt-get install -qy --no-install-recommends ./hearth.deb")
    assert "sudo hearth setup" in said and "systemctl enable --now hearthd.socket" in said
    assert root.run("getent passwd hearth") and root.run("getent group hearth-admin")
    root.run("hearth --version && hearthd --version && man -w hearth || true")

    draw_picture(root.folder / "picture.png")
    start = root.command(f"mkdir -p /run/hearth; exec hearthd --socket {SOCKET} --device cpu")
    with running(start, None, tmp_path / "hearthd.log"):
        wait_for(lambda: status_of(root).get("worker_state") == "failed", "the lack of an engine")
        refused = root.run(
            f"hearth caption picture.png --model ember --socket {SOCKET} 2>&1 || true"
        )
        assert "hearth setup" in refused
        set_up = root.run(f"hearth setup --for cpu --yes --mirror {mirror} 2>&1")
        assert "into /usr/lib/hearth/torch" in set_up and "libtorch" in set_up
        wait_for(lambda: status_of(root).get("worker_state") == "ready", "an engine")
        told = root.run(f"{CAPTION} 2>/dev/null")
        assert "red" in told and "circle" in told

    (root.folder / "picture.png").unlink()
    purged = root.run("dpkg --purge hearth 2>&1")
    assert "Left: " in purged
    users = {
        f"etc/{name}{dash}" for name in ("passwd", "group", "shadow", "gshadow") for dash in "-"
    }
    assert root.files() - before - users == set()
    assert before - root.files() == set()


# A chroot has no service manager. This one knows one service and writes down what it is told.
MANAGER = """#!/bin/sh
echo "$*" >> /run/told
case "$*" in
    *MainPID*) cat /run/hearthd.pid ;;
    *--signal=SIGUSR2*) kill -USR2 $(cat /run/hearthd.pid) ;;
esac
"""


HANDS_OVER = "trap : USR2; while :; do sleep 0.1; done"
CANNOT = "exec sleep 1000"


@pytest.mark.parametrize("service, does", [(HANDS_OVER, "SIGUSR2"), (CANNOT, "try-restart")])
def test_an_upgrade_asks_a_service_that_can_to_hand_over_and_restarts_another(
    root: DebianRoot, tmp_path, service, does
):
    root.run("dpkg --install hearth.deb && mkdir -p /run/systemd/system && rm -f /run/told")
    manager = root.folder / "usr/local/bin/systemctl"
    manager.write_text(MANAGER)
    manager.chmod(0o755)
    with running(["sh", "-c", service], None, tmp_path / "service.log") as process:
        (root.folder / "run/hearthd.pid").write_text(f"{process.pid}\n")
        root.run("PATH=/usr/local/bin:$PATH dpkg --install hearth.deb")
        assert process.poll() is None, "nobody was ended by a signal"
    told = (root.folder / "run/told").read_text()
    assert "daemon-reload" in told
    assert [word for word in ("SIGUSR2", "try-restart") if word in told] == [does]
    root.run("PATH=/usr/local/bin:$PATH dpkg --purge hearth && rm -r /run/systemd")
    manager.unlink()


def test_a_checker_of_packages_finds_no_error(root: DebianRoot):
    root.run("apt-get install -qy --no-install-recommends lintian")
    # The address is the publisher's to give.
    known = "bogus-mail-host,bogus-mail-host-in-debian-changelog"
    said = root.run(f"lintian --fail-on error --suppress-tags {known} hearth.deb 2>&1")
    assert "E: " not in said
