"""The service under a real systemd. Takes minutes: pytest -m extended tests/system."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models/ember"))
import image  # noqa: E402
import machine  # noqa: E402

LIBTORCH = "/usr/lib/hearth/torch"


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    """The machine, booted once. Its log is written to build/system/run.txt."""
    if missing := image.what_is_missing():
        pytest.skip(missing)
    image.FOLDER.mkdir(parents=True, exist_ok=True)
    running = machine.Machine(tmp_path_factory.mktemp("machine"))
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(scope="session")
def tree(guest):
    """This repository and its build, in the machine at the place where they are here, because a
    build tree names its own place. Nobody of them is in the way of the service."""
    source = image.cached("CMAKE_HOME_DIRECTORY")
    guest.must(f"mkdir -p {source} && cp -a /payload/tree/. {source}")
    guest.must(f"mkdir -p {image.BUILD} && cp -a /payload/build/. {image.BUILD}")
    python = image.cached("HEARTH_PYTHON")  # writes manual pages when things are installed
    if python and python != "/usr/bin/python3":
        guest.must(f"mkdir -p $(dirname {python}) && ln -sf /usr/bin/python3 {python}")
    guest.must(f"chmod -R a+w {image.BUILD}")  # whoever installs writes the list of files there
    guest.must("useradd -m -s /bin/sh alice && useradd -m -s /bin/sh mallory")
    guest.note(
        "booted: " + guest.must("uname -sr; systemctl --version | head -1").replace("\n", ", ")
    )
    return source


@pytest.fixture(scope="session")
def installed(guest, tree):
    """The system service, installed with prefix /usr by the script that users run."""
    install = (
        f"HEARTH_INSTALL_WAIT_S=200 {tree}/systemd/install --system --prefix /usr "
        f"--build {image.BUILD}"
    )
    without = guest.run(install)
    guest.note(
        "systemd/install --system --prefix /usr, on a machine without libtorch", without.output
    )
    assert without.code == 1
    assert "libtorch" in without.output
    guest.must(f"mkdir -p {LIBTORCH} && ln -s /payload/site {LIBTORCH}/{image.torch_version()}")
    guest.note(f"the same with libtorch in {LIBTORCH}", guest.must(install))
    guest.must("usermod -aG hearth alice")
    return guest


@pytest.fixture
def service(installed):
    """The service, running, whatever the test before has done to it."""
    installed.must("systemctl reset-failed hearthd.service; systemctl start hearthd.socket")
    installed.must("systemctl start hearthd.service")
    return installed
