"""SECURITY.md is true: what it names exists, and what no other test holds is held here."""

import ast
import os
import re
import socket
import subprocess
from pathlib import Path

from installed import running, wait_for
from release import BUILD, ROOT

THREATS = [f"T{number}" for number in range(1, 18)]
TEXT = (ROOT / "SECURITY.md").read_text()
UNPICKLERS = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "torch.load"}


def rows() -> dict[str, list[str]]:
    """Of the table: number, and the cells behind it."""
    lines = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| T")]
    return {cells[0]: cells[1:] for cells in lines}


def proofs() -> dict[str, list[str]]:
    """Of the list: number, and the names in it."""
    listed = TEXT.partition("### Proofs")[2]
    found = re.findall(r"^- (T\d+) (.*?)(?=^- T|\n\n)", listed, re.M | re.S)
    return {number: re.findall(r"`([^`]+)`", text) for number, text in found}


def exists(name: str) -> bool:
    """A file, or FILE::SUITE.NAME of a C++ test, or FILE::NAME of a Python one."""
    path, _, test = name.partition("::")
    if not (ROOT / path).is_file():
        return False
    if not test:
        return True
    text = (ROOT / path).read_text()
    suite, dot, case = test.partition(".")
    if dot:
        return bool(re.search(rf"^TEST(_F|_P)?\({suite},\s*{case}\)", text, re.M))
    return bool(re.search(rf"^def {re.escape(test)}\(", text, re.M))


def test_every_threat_has_a_control_a_place_and_says_whether_it_holds():
    assert list(rows()) == THREATS
    for number, (_threat, control, places, held) in rows().items():
        assert control and held.split(":")[0] in ("yes", "partly", "no"), number
        assert ":" in held or held == "yes", f"{number}: what is missing?"
        named = re.findall(r"`([^`]+)`", places)
        assert named and not [name for name in named if not exists(name)], number


def test_every_threat_has_proofs_and_each_of_them_exists():
    assert list(proofs()) == THREATS
    for number, names in proofs().items():
        assert any("::" in name for name in names), number
        assert not [name for name in names if not exists(name)], number


def test_a_proof_that_is_not_there_is_noticed():
    assert not exists("tests/unit/shm_segment_test.cpp::Segment.HasNoSuchTest")
    assert not exists("tests/e2e/test_deaths.py::test_that_nobody_wrote")
    assert not exists("tests/e2e/test_nowhere.py")


def loads_code(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom) and node.module in UNPICKLERS:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] if called in {"eval", "exec", *UNPICKLERS} else []
    return found


def test_our_python_neither_unpickles_nor_evaluates():
    assert loads_code(ast.parse("import pickle; torch.load(x); eval(y)")) == [
        *("pickle", "torch.load", "eval")
    ]
    for path in sorted((ROOT / "client_py/hearth").rglob("*.py")):
        assert not loads_code(ast.parse(path.read_text())), path


def socket_families(pid: int) -> set[str]:
    """Of every socket that the process has open: which of the kernel's tables lists it."""
    links = [
        os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()
    ]
    inodes = {match[1] for link in links if (match := re.match(r"socket:\[(\d+)\]", link))}
    tables = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix", "netlink")
    listed = {}
    for table in tables:
        path = Path(f"/proc/{pid}/net/{table}")
        listed[table] = set(path.read_text().split()) if path.exists() else set()
    return {table for table in tables if inodes & listed[table]}


def test_the_service_opens_no_network_socket(tmp_path):
    with socket.socket(socket.AF_INET) as witness:
        witness.bind(("127.0.0.1", 0))
        witness.listen()
        assert "tcp" in socket_families(os.getpid()), "such a socket would be noticed"
    path = tmp_path / "hearth.sock"
    command = [BUILD / "bin/hearthd", "--socket", path, "--device", "cpu", "--no-ember"]
    with running(command, None, tmp_path / "hearthd.log") as service:
        wait_for(path.exists, "a socket")
        children = f"/proc/{service.pid}/task/{service.pid}/children"
        worker = wait_for(lambda: Path(children).read_text().split(), "an engine")[0]
        for pid in (service.pid, int(worker)):
            assert socket_families(pid) <= {"unix", "netlink"}


def test_the_registry_is_not_asked_to_run_anything():
    """Manager would run an install.py with ComfyUI's own Python."""
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    assert not [name for name in tracked if Path(name).name == "install.py" and "/" not in name]
