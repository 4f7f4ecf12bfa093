"""The units as systemd itself judges them: valid, closed enough, and with users and folders."""

import shutil
import subprocess

import pytest

from systemd_for_test import BUILD, SYSTEMD, unit_values

UNITS = {
    "system": ["hearthd.service", "hearthd.socket", "hearth-sleep.service"],
    "user": ["hearthd.service", "hearthd.socket"],
}


def tool(*words, **options):
    """Runs one of systemd's tools, which need no running systemd for this."""
    assert shutil.which(words[0]), f"{words[0]} is missing: apt-get install systemd"
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=60, **options
    )


def exposure(unit, threshold):
    return tool(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={threshold}",
        unit,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A prefix into which cmake has installed."""
    prefix = tmp_path_factory.mktemp("prefix")
    command = ["cmake", "--install", str(BUILD), "--prefix", str(prefix)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (prefix / "bin/hearth").write_text("#!/bin/sh\n")  # comes with the Python package
    (prefix / "bin/hearth").chmod(0o755)
    return prefix


def test_exposure_of_the_system_service_is_at_most_one_and_a_half():
    judged = exposure(SYSTEMD / "system/hearthd.service", 15)
    assert judged.returncode == 0, judged.stdout
    assert exposure(SYSTEMD / "system/hearth-sleep.service", 15).returncode == 0


def test_exposure_would_notice_a_restriction_that_was_dropped(tmp_path):
    text = (SYSTEMD / "system/hearthd.service").read_text()
    for restriction in ("ProtectHome", "PrivateNetwork", "CapabilityBoundingSet", "User"):
        text = text.replace(f"\n{restriction}=", f"\n# {restriction}=")
    (tmp_path / "hearthd.service").write_text(text)
    assert exposure(tmp_path / "hearthd.service", 15).returncode != 0


@pytest.mark.parametrize("scope", ["system", "user"])
def test_units_as_installed_are_valid(installed, scope, tmp_path):
    folder = installed / "lib/systemd" / scope
    environment = {"SYSTEMD_UNIT_PATH": f"{folder}:", "XDG_RUNTIME_DIR": str(tmp_path)}
    judged = tool(
        "systemd-analyze",
        "verify",
        "--man=no",
        *(["--user"] if scope == "user" else []),
        *UNITS[scope],
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


@pytest.mark.parametrize("scope", ["system", "user"])
def test_units_as_installed_start_the_programs_of_the_prefix(installed, scope):
    (command,) = unit_values(installed / "lib/systemd" / scope / "hearthd.service", "ExecStart")
    assert command == f"{installed}/bin/hearthd"
    texts = [p.read_text() for p in (installed / "lib/systemd" / scope).iterdir()]
    assert not any("/usr/bin/hearth" in text for text in texts)


def test_nothing_in_the_service_hides_who_a_client_is():
    """Peers' user ids are read from the socket, which user namespaces blur."""
    assert not unit_values(SYSTEMD / "system/hearthd.service", "PrivateUsers")
    assert unit_values(SYSTEMD / "system/hearthd.service", "NotifyAccess") == ["main"]


def test_system_user_and_groups_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    made = tool("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.conf")
    assert made.returncode == 0, made.stderr
    users = (tmp_path / "etc/passwd").read_text().splitlines()
    (user,) = [line.split(":") for line in users if line.startswith("hearth:")]
    assert user[5:] == ["/var/lib/hearth", "/usr/sbin/nologin"]
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert {"hearth", "hearth-admin"} <= groups


def test_folder_of_the_socket_is_made(tmp_path):
    (tmp_path / "etc").mkdir()
    tool("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.conf")
    made = tool("systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "tmpfiles.conf")
    is_root = made.returncode == 0
    assert is_root or "Operation not permitted" in made.stderr, made.stderr
    if is_root:
        assert (tmp_path / "run/hearth").stat().st_mode & 0o777 == 0o755
