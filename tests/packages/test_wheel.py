"""The wheel `hearthd`: pure, whole, the same each time, installable where there is nothing else."""

import configparser
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from release import ROOT, Made, make_packages

EVERY_COMMAND = """
from hearth import cli
for name in cli.commands.COMMANDS:
    cli.parser_of(name)
"""


def other_pythons() -> list:
    """Those on the PATH that work; a name alone may be a version manager's stub."""
    names = [f"python3.{minor}" for minor in range(9, 16) if minor != sys.version_info.minor]
    found = [shutil.which(name) for name in names]
    working = [
        path
        for path in found
        if path and not subprocess.run([path, "-c", "import venv"], capture_output=True).returncode
    ]
    return [pytest.param(path, marks=pytest.mark.extended) for path in working]


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def tracked(folder: str) -> set[str]:
    listed = subprocess.check_output(["git", "ls-files", folder], cwd=ROOT, text=True)
    return set(listed.splitlines())


def test_it_is_for_every_python_and_the_same_to_the_byte_when_made_again(made: Made, tmp_path):
    make_packages(tmp_path / "no-build-tree", tmp_path / "again")
    again = next((tmp_path / "again").glob("*.whl"))
    assert again.name == made.wheel.name and again.name.endswith("-py3-none-any.whl")
    assert again.read_bytes() == made.wheel.read_bytes()


def test_it_has_the_client_the_command_the_nodes_and_what_comfyui_shows_of_them(made: Made):
    inside = names_in(made.wheel)
    package = {
        name.removeprefix("client_py/")
        for name in tracked("client_py/hearth")
        if not name.endswith(("/locales", "/example_workflows"))  # links
    }
    shown = {f"hearth/{name}" for name in tracked("locales") | tracked("example_workflows")}
    rest = {name for name in inside if ".dist-info/" not in name}
    assert rest == package | shown
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def test_an_index_takes_its_metadata(made: Made):
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(made.wheel)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    metadata = metadata_of(made.wheel)
    assert metadata["Name"] == "hearthd"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Dist"].startswith("msgpack")
    assert metadata["Keywords"] and metadata.get_all("Classifier")


def test_comfyui_reads_the_same_of_the_pack_as_pip_of_the_package(made: Made):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName"}
    # One that ComfyUI does not know would make it forget the others.
    environments = [c for c in project["project"]["classifiers"] if c.startswith("Environment ::")]
    assert environments == ["Environment :: GPU :: NVIDIA CUDA"]
    required = (ROOT / "requirements.txt").read_text().split()
    assert required == project["project"]["dependencies"]
    assert not (ROOT / "client_py/pyproject.toml").exists(), "two places would differ one day"
    entry = configparser.ConfigParser()
    with zipfile.ZipFile(made.wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        entry.read_string(archive.read(name).decode())
    assert entry["console_scripts"]["hearth"] == "hearth.__main__:run"


def test_the_registrys_archive_has_the_pack_and_not_the_service():
    ignored = (ROOT / ".comfyignore").read_text().splitlines()
    left_out = {line.strip("/") for line in ignored if line and not line.startswith("#")}
    top = {name.split("/")[0] for name in tracked(".")}
    needed = {"__init__.py", "client_py", "locales", "example_workflows", "pyproject.toml"}
    needed |= {"requirements.txt", "LICENSE", "README.md"}
    assert needed <= top - left_out
    assert left_out <= top, "a line names what is not there"
    assert not {"daemon", "models", "packaging", "shm", "systemd", "tests"} & (top - left_out)


@pytest.mark.parametrize("python", [sys.executable, *other_pythons()])
def test_a_fresh_environment_gets_a_command_that_works(made: Made, tmp_path, python):
    environment = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", environment], check=True)
    pip = [environment / "bin/python", "-m", "pip", "install", "-q", f"{made.wheel}[cli]"]
    subprocess.run(pip, check=True)
    version = (ROOT / "VERSION").read_text().strip()
    said = subprocess.check_output([environment / "bin/hearth", "--version"], text=True)
    assert said.split() == ["hearth", version]
    subprocess.run([environment / "bin/python", "-c", EVERY_COMMAND], check=True)
    asked = subprocess.run(
        [environment / "bin/hearth", "status", "--socket", tmp_path / "nobody"],
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 3 and "No hearth service" in asked.stderr
    assert shutil.which("hearth", path=str(environment / "bin"))
