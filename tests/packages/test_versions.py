"""VERSION is the version: every program, package and page has it from there."""

import re
import subprocess
import sys
import tarfile

from release import BUILD, ROOT, Made

VERSION = (ROOT / "VERSION").read_text().strip()


def said_by(*command) -> str:
    return subprocess.check_output(list(map(str, command)), text=True).split()[-1]


def test_programs_say_it():
    assert said_by(BUILD / "bin/hearthd", "--version") == VERSION
    assert said_by(BUILD / "bin/hearth-worker", "--version") == VERSION
    assert said_by(sys.executable, "-m", "hearth", "--version") == VERSION


def test_packages_are_named_by_it(made: Made):
    assert made.wheel.name == f"hearthd-{VERSION}-py3-none-any.whl"
    assert said_by("dpkg-deb", "-f", made.deb, "Version") == VERSION
    assert made.deb.name.startswith(f"hearth_{VERSION}_")
    with tarfile.open(made.tarball) as archive:
        assert archive.next().name.split("/")[0].startswith(f"hearth-{VERSION}-")


def test_the_nodes_and_the_changelog_are_of_it():
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.*)"$', pyproject, re.M) == [VERSION]
    package = (ROOT / "client_py/hearth/version.py").read_text()
    assert re.findall(r'^VERSION = "(.*)"$', package, re.M) == [VERSION]
    newest = re.search(r"^## \[?([0-9.]+)\]?", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and newest[1] == VERSION


def test_pages_name_packages_of_it():
    for page in (ROOT / "README.md", ROOT / "docs/packages.md"):
        named = re.findall(r"\bhearthd?[-_](\d+\.\d+\.\d+)[-_]", page.read_text())
        assert named and set(named) == {VERSION}, page
