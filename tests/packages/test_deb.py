"""The Debian package, without installing it: what it has, what it needs, what its scripts do."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from release import ROOT, Made

SCRIPTS = ("postinst", "prerm", "postrm")


@pytest.fixture(scope="module")
def unpacked(made: Made, tmp_path_factory) -> Path:
    """Its files, and DEBIAN/ with its control files."""
    folder = tmp_path_factory.mktemp("deb") / "root"
    subprocess.run(["dpkg-deb", "-R", made.deb, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def control(unpacked: Path) -> dict[str, str]:
    lines = (unpacked / "DEBIAN/control").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and line[0] != " ")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_it_has_the_service_the_engine_the_command_the_units_and_their_papers(unpacked: Path):
    wanted = {"hearth", "hearthd", "hearth-worker"}
    assert wanted == {path.name for path in (unpacked / "usr/bin").iterdir()}
    files = files_below(unpacked / "usr")
    assert {
        "lib/systemd/system/hearthd.service",
        "lib/systemd/system/hearthd.socket",
        "lib/systemd/user/hearthd.service",
        "lib/systemd/user/hearthd.socket",
        "lib/sysusers.d/hearth.conf",
        "lib/tmpfiles.d/hearth.conf",
        "share/hearth/ember/model.safetensors",
        "share/hearth/python/hearth/locales/en/nodeDefs.json",
        "share/hearth/python/hearth/libtorch/wheels.json",
        "share/doc/hearth/copyright",
        "share/doc/hearth/CHANGELOG.md.gz",
        "share/doc/hearth/changelog.gz",
        "share/doc/hearth/SECURITY.md",
        "share/doc/hearth/examples/hearth.toml",
        "share/man/man1/hearth.1.gz",
        "share/man/man1/hearth-setup.1.gz",
        "share/man/man8/hearthd.8.gz",
        "share/man/man8/hearth-worker.8.gz",
        "share/bash-completion/completions/hearth",
        "share/zsh/vendor-completions/_hearth",
        "share/fish/vendor_completions.d/hearth.fish",
    } <= files
    assert not any("__pycache__" in name for name in files)
    assert not any(path.is_symlink() for path in unpacked.rglob("*"))


def test_libtorch_is_neither_inside_nor_among_what_it_depends_on(unpacked: Path, control):
    assert not list(unpacked.rglob("*torch*.so*"))
    assert "torch" not in control["Depends"]
    assert unpacked.joinpath("usr/bin/hearth-worker").stat().st_size < 64 << 20


def test_it_depends_on_what_its_programs_are_linked_with_and_its_command_imports(control):
    names = {re.split(r"[ (]", part)[0] for part in control["Depends"].split(", ")}
    assert {"libc6", "libstdc++6", "libpcre2-8-0", "libsystemd0"} <= names
    assert {"python3", "python3-msgpack", "python3-rich", "python3-pil"} <= names


def test_the_engine_looks_for_libtorch_beside_itself_and_nowhere_on_the_machine_that_built_it(
    unpacked: Path,
):
    worker = unpacked / "usr/bin/hearth-worker"
    dynamic = subprocess.check_output(["readelf", "-d", worker], text=True)
    paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
    assert len(paths) == 1
    assert re.fullmatch(r"\$ORIGIN/\.\./lib/hearth/torch/\d+\.\d+\.\d+/torch/lib", paths[0])


def test_nothing_inside_knows_where_it_was_built(unpacked: Path, made: Made):
    told = [str(ROOT), str(Path(os.environ.get("HEARTH_BIN", ROOT)).parent)]
    for path in unpacked.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not any(place.encode() in content for place in told), path


def test_units_start_the_programs_where_the_package_puts_them(unpacked: Path):
    for unit in unpacked.glob("usr/lib/systemd/*/hearthd.service"):
        started = re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.M)
        assert started == ["/usr/bin/hearthd"]
        assert (unpacked / started[0].lstrip("/")).exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_small_stop_at_errors_and_parse(unpacked: Path, script):
    path = unpacked / "DEBIAN" / script
    text = path.read_text()
    assert text.startswith("#!/bin/sh\nset -e\n") and len(text.splitlines()) < 50
    assert path.stat().st_mode & 0o777 == 0o755
    subprocess.run(["sh", "-n", path], check=True)


def test_an_upgrade_asks_the_broker_to_replace_itself_and_removal_stops_it(unpacked: Path):
    postinst, prerm, postrm = ((unpacked / "DEBIAN" / name).read_text() for name in SCRIPTS)
    assert "kill --signal=SIGUSR2 --kill-who=main hearthd.service" in postinst
    assert "--quiet disable --now hearthd.socket hearthd.service hearth-sleep.service" in prerm
    assert "with: hearth upgrade" in postinst
    assert "with: systemctl --user disable --now hearthd.socket hearthd.service" in prerm
    assert "rm -rf /usr/lib/hearth /var/lib/hearth" in postrm


def test_modes_are_those_of_a_distribution(unpacked: Path):
    for path in (unpacked / "usr").rglob("*"):
        mode = path.stat().st_mode & 0o7777
        is_program = path.is_dir() or path.parent.name == "bin"
        assert mode in ((0o755,) if is_program else (0o644, 0o755)), (path, oct(mode))
