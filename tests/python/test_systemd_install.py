"""systemd/install and uninstall: a user's own service without root, and the machine's."""

import shutil

import pytest

from systemd_for_test import BUILD, SYSTEMD, Home, unit_values

UNITS = ".local/share/systemd/user"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def install(home, *arguments, **environment):
    return home.run("install", *arguments, "--build", BUILD, **environment)


def test_a_user_gets_programs_units_and_a_running_service_without_root(home):
    done = install(home, "--user")
    assert done.returncode == 0, done.stderr
    assert (home.home / ".local/bin/hearthd").exists()
    (command,) = unit_values(home.home / UNITS / "hearthd.service", "ExecStart")
    assert command == f"{home.home}/.local/bin/hearthd"
    assert home.told() == [
        "--user daemon-reload",
        "--user enable --quiet hearthd.socket hearthd.service",
        "--user restart hearthd.socket hearthd.service",
    ]
    assert "GPU_OK on cpu (test)" in done.stdout
    assert f"uninstall --user --prefix {home.home}/.local" in done.stdout


def test_installing_twice_is_installing_once_and_uninstalling_leaves_the_users_own(home):
    (home.home / ".local/share/other").mkdir(parents=True)
    (home.home / ".config/hearth").mkdir(parents=True)
    settings = home.home / ".config/hearth/hearth.toml"
    settings.write_text("")
    other = home.home / ".local/share/other/file"
    other.write_text("")
    before = home.files()
    assert install(home, "--user").returncode == 0
    files = home.files()
    assert install(home, "--user").returncode == 0
    assert home.files() == files
    home.told()
    python = home.home / ".local/share/hearth/python/hearth/__pycache__"
    python.mkdir(parents=True, exist_ok=True)
    (python / "client.pyc").write_text("")
    for _ in range(2):
        done = home.run("uninstall", "--user")
        assert done.returncode == 0, done.stderr
        assert home.files() == before
        assert str(settings.parent) in done.stdout
    assert home.told()[0] == "--user disable --quiet --now hearthd.socket hearthd.service"
    assert not (home.home / ".local/share/hearth").exists()
    assert (home.home / ".local").exists()


def test_nothing_outside_our_folders_goes_from_a_home_that_is_named_hearth(tmp_path):
    home = Home(tmp_path, "hearth")
    assert install(home, "--user").returncode == 0
    others = [home.home / name for name in ("Pictures", "projects/empty", "venv/__pycache__")]
    for folder in others:
        folder.mkdir(parents=True)
    compiled = others[-1] / "foreign.pyc"
    compiled.write_text("")
    done = home.run("uninstall", "--user")
    assert done.returncode == 0, done.stderr
    assert all(folder.is_dir() for folder in others)
    assert home.files() == {"venv/__pycache__/foreign.pyc"}
    assert not (home.home / ".local/share/hearth").exists()


def test_an_engine_that_cannot_start_is_said_with_its_reason(home):
    home.status("FAILED: The engine does not start: libtorch 2.11.0 is not here")
    done = install(home, "--user")
    assert done.returncode == 1
    assert "libtorch 2.11.0 is not here" in done.stderr
    assert f"{home.home}/.local/bin/hearth setup" in done.stderr


@pytest.mark.parametrize(("answer", "warned"), [("exit 1", True), ("exit 0", False)])
def test_a_python_without_the_commands_packages_is_said_and_no_failure(home, answer, warned):
    python = home.played / "python3"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    tree = home.home.parent / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/hearth").write_text("")
    scripts = tree / "share/hearth/systemd"
    shutil.copytree(SYSTEMD, scripts)
    (scripts / "CMakeLists.txt").unlink()
    done = home.run(scripts / "install", "--user", CDPATH="/usr")
    assert done.returncode == 0, done.stderr
    said = "apt install python3-msgpack python3-rich python3-pil" in done.stderr
    assert said == warned, done.stderr


def test_without_a_service_manager_the_rest_is_named(home):
    done = install(home, "--user", FAKE_VERSION="")
    assert done.returncode == 1
    assert "systemctl --user enable --now hearthd.socket" in done.stdout
    assert home.told() == []
    assert (home.home / UNITS / "hearthd.socket").exists()


def test_the_systems_files_go_below_destdir_and_nothing_is_started(home, tmp_path):
    root = tmp_path / "root"
    done = install(home, "--system", DESTDIR=str(root))
    assert done.returncode == 0, done.stderr
    assert home.told() == []
    (command,) = unit_values(root / "etc/systemd/system/hearthd.service", "ExecStart")
    assert command == "/usr/local/bin/hearthd"
    assert (root / "usr/local/bin/hearthd").exists()
    for name in ("sysusers.d", "tmpfiles.d"):
        assert (root / "etc" / name / "hearth.conf").exists()
    done = home.run("uninstall", "--system", DESTDIR=str(root))
    assert done.returncode == 0, done.stderr
    assert [p for p in root.rglob("*") if p.is_file()] == []


def test_an_unpacked_tree_is_used_where_it_lies_and_left_there(home, tmp_path):
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    scripts = tree / "share/hearth/systemd"
    shutil.copytree(SYSTEMD, scripts)
    (scripts / "CMakeLists.txt").unlink()
    done = home.run(scripts / "install", "--user")
    assert done.returncode == 0, done.stderr
    (command,) = unit_values(home.home / UNITS / "hearthd.service", "ExecStart")
    assert command == f"{tree}/bin/hearthd"
    done = home.run(scripts / "uninstall", "--user")
    assert done.returncode == 0, done.stderr
    assert scripts.exists()
    assert not (home.home / UNITS / "hearthd.service").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--user", "--prefix", "/tmp/with space"], "choose a plainer --prefix"),
        (["--user", "--build", "/nowhere"], "/nowhere is no build tree"),
        (["--everybody"], "unknown argument: --everybody"),
        (["--prefix"], "--prefix needs a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(home, arguments, why):
    done = home.run("install", *arguments)
    assert done.returncode == 1
    assert why in done.stderr
    assert home.files() == set()
