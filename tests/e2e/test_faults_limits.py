"""Too little memory, too few descriptors, a foreign user, no /dev/shm: rows about the system."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hostile import Peer, chat
from ledger import balanced, open_files
from process import cpu_seconds
from service import Daemon, wait_until

import hearth.client
from hearth import errors, messages

MIB = 1 << 20
NOBODY = 65_534
HERE = Path(__file__).parent


def limit(process, which, most):
    resource.prlimit(process.pid, which, (most, most))


# --- memory ---


@pytest.mark.fault(13)
def test_memory_that_cannot_be_had_is_an_error_of_its_request(start_daemon, model):
    daemon = start_daemon()
    with Peer(daemon.socket) as peer, daemon.connect() as beside:
        offered = peer.offer(model)
        limit(daemon.process, resource.RLIMIT_FSIZE, MIB)
        arena = peer.arena(MIB)
        for _ in range(20):
            error = peer.ask(messages.ArenaAsk(nbytes=2 * MIB))
            assert error.code == "out_of_memory" and not error.retryable
        arena.memory[:] = b"\xff" * MIB
        picture = chat(arena.tensor((64, 64, 3)), "seen")
        assert peer.ask(messages.Generate(model=offered, messages=picture)).text.endswith("seen")
        status = beside.status()
        assert (status.arenas, status.arena_bytes) == (1, MIB)
    assert daemon.stop() == 0


@pytest.mark.fault(13)
def test_more_memory_than_a_user_may_have_is_refused_with_the_numbers(start_daemon):
    daemon = start_daemon("--user-memory", "8MiB")
    with Peer(daemon.socket) as peer, Peer(daemon.socket) as other:
        peer.arena(4 * MIB)
        for _ in range(20):
            error = other.ask(messages.ArenaAsk(nbytes=5 * MIB))
            assert error.code == "busy" and error.retryable
            assert str(5 * MIB) in error.what and str(8 * MIB) in error.what
        other.arena(4 * MIB)


# --- descriptors ---


@pytest.mark.fault(14)
def test_clients_wait_while_descriptors_are_short_and_are_served_afterwards(start_daemon):
    daemon = start_daemon()
    with balanced(daemon), daemon.connect() as first:
        limit(daemon.process, resource.RLIMIT_NOFILE, 64)
        with contextlib.ExitStack() as crowd:
            for _ in range(60):
                peer = crowd.enter_context(Peer(daemon.socket, greet=False))
                peer.send(messages.Hello(oldest=1, newest=messages.PROTOCOL_VERSION), 0)
            wait_until(lambda: sum(open_files(daemon.process.pid).values()) == 64)
            spent = cpu_seconds(daemon.process.pid)
            began = time.monotonic()
            while time.monotonic() - began < 1:
                first.ping()
                time.sleep(0.05)
            assert cpu_seconds(daemon.process.pid) - spent < 0.7, "it waits, it does not spin"
            with Peer(daemon.socket, greet=False) as late:
                late.socket.settimeout(0.3)
                late.send(messages.Hello(oldest=1, newest=messages.PROTOCOL_VERSION), 0)
                with pytest.raises(TimeoutError):
                    late.receive()
        with daemon.connect() as late:
            assert late.ping() >= 0 and first.ping() >= 0


@pytest.mark.fault(14)
def test_a_request_that_needs_a_descriptor_too_many_fails_alone(start_daemon):
    daemon = start_daemon()
    with balanced(daemon), daemon.connect() as beside, Peer(daemon.socket) as peer:
        limit(daemon.process, resource.RLIMIT_NOFILE, beside.status().descriptors + 2)
        answers = [peer.ask(messages.ArenaAsk(nbytes=MIB)) for _ in range(6)]
        refused = [answer for answer in answers if isinstance(answer, messages.Error)]
        assert 3 <= len(refused) <= 5
        assert {error.code for error in refused} == {"out_of_memory"}
        assert peer.is_served() and beside.ping() >= 0


# --- the socket's path ---


@pytest.mark.fault(18)
@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_what_is_no_socket_is_never_replaced(tmp_path, kind):
    daemon = Daemon(tmp_path)
    if kind == "link":
        (tmp_path / "elsewhere").touch()
        daemon.socket.symlink_to(tmp_path / "elsewhere")
    else:
        daemon.socket.touch() if kind == "file" else daemon.socket.mkdir()
    process = daemon.spawn()
    assert process.wait(20) == 1
    assert str(daemon.socket) in daemon.log_tail()
    assert daemon.socket.is_symlink() == (kind == "link")
    assert not (tmp_path / "elsewhere").exists() or not (tmp_path / "elsewhere").read_bytes()


@pytest.mark.fault(18)
def test_a_second_daemon_names_the_first(start_daemon):
    daemon = start_daemon()
    assert daemon.spawn().wait(20) == 1
    assert f"process {daemon.process.pid}" in daemon.log_tail()
    with daemon.connect() as client:
        assert client.ping() >= 0


@pytest.mark.fault(18)
def test_the_socket_of_a_killed_daemon_is_taken_over(start_daemon):
    daemon = start_daemon()
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    with daemon.connect() as client:
        assert client.ping() >= 0


# --- users ---


@pytest.fixture
def open_folder():
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.fault(19)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused_and_told_whom_to_ask(open_folder):
    daemon = Daemon(open_folder).start()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            hearth.client.connect(daemon.socket, 5)
            os.write(say, b"connected")
        except errors.NotReachable as error:
            os.write(say, str(error).encode())
        finally:
            os._exit(0)
    os.close(say)
    try:
        os.waitpid(child, 0)
        with open(said, "rb") as pipe:
            words = pipe.read().decode()
        assert "another user's own service: `hearth up`" in words and str(daemon.socket) in words
        with daemon.connect() as client:
            assert len(client.status().clients) == 1
    finally:
        assert daemon.stop() == 0


# --- /dev/shm ---


def may_unshare():
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    tried = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.fault(23)
@pytest.mark.watchdog(240)
@pytest.mark.skipif(not may_unshare(), reason="no mount namespaces for this user")
def test_nothing_needs_room_in_dev_shm():
    """A part of this suite in a mount namespace whose /dev/shm has 1 MiB, full already."""
    suites = [HERE / "test_generate.py", HERE / "test_faults_arenas.py"]
    command = (
        "mount -t tmpfs -o size=1m tmpfs /dev/shm && "
        "head -c 1048576 /dev/zero > /dev/shm/full; "
        'exec "$@"'
    )
    words = ["unshare", "-m", "sh", "-c", command, "sh", sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run(
        [*words, *map(str, suites), "-k", "not cancel and not wait"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
