"""How the client finds and greets the service."""

import contextlib
import os
import socket
import threading
import time

import pytest

import hearth.client
import server as fake
from hearth import errors, messages
from hearth.version import VERSION
from server import silent

CONNECT_LIMIT_S = 3.0  # ten times the time-out of connect()


def test_a_service_that_is_down_is_named_with_how_to_start_it(tmp_path):
    began = time.monotonic()
    path = tmp_path / "hearth.sock"
    with pytest.raises(errors.NotReachable, match="no such file") as raised:
        hearth.client.connect(path)
    assert time.monotonic() - began < CONNECT_LIMIT_S
    assert f"hearthd --socket {path}" in str(raised.value)
    assert raised.value.retryable


def test_a_socket_that_a_dead_service_left_is_not_reachable(tmp_path):
    path = tmp_path / "hearth.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(errors.NotReachable, match="connection refused"):
        hearth.client.connect(path)


def test_all_places_are_tried_in_order(tmp_path, monkeypatch):
    monkeypatch.delenv("HEARTH_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(errors.NotReachable) as raised:
        hearth.client.connect()
    assert f"{tmp_path}/hearth/hearth.sock" in str(raised.value)
    assert "/run/hearth/hearth.sock" in str(raised.value)
    assert "HEARTH_SOCKET" in str(raised.value)
    (tmp_path / "hearth").mkdir()
    with fake.Server(tmp_path / "hearth"), hearth.client.connect() as client:
        client.ping()
    with fake.Server(tmp_path) as other:
        monkeypatch.setenv("HEARTH_SOCKET", other.path)
        with hearth.client.connect() as client:
            client.ping()
        assert len(other.peers) == 1


@pytest.mark.parametrize("path", ["x" * 200, "/dev/null", "/"])
def test_a_path_that_cannot_be_a_socket_is_not_reachable(path):
    with pytest.raises(errors.NotReachable):
        hearth.client.connect(path)


def test_of_a_socket_for_its_owner_alone_no_group_is_named(service, monkeypatch):
    def refused(_self, _path):
        raise PermissionError(13, "Permission denied")

    os.chmod(service.path, 0o700)
    monkeypatch.setattr("socket.socket.connect", refused)
    with pytest.raises(errors.NotReachable, match="another user's own service: `hearth up`"):
        hearth.client.connect(service.path)


def test_a_service_that_takes_connections_and_says_nothing_is_given_up_in_time(
    service, monkeypatch
):
    monkeypatch.setattr("hearth.connection.GREETING_S", 0.5)
    service.on[messages.Hello] = silent
    began = time.monotonic()
    with pytest.raises(errors.NotReachable, match="took the connection and has not.* 0.5 s"):
        hearth.client.connect(service.path)
    assert 0.45 < time.monotonic() - began < CONNECT_LIMIT_S


def test_a_service_that_is_being_started_has_longer_than_the_time_out(service):
    def late(*greeted):
        threading.Timer(0.6, fake.welcome, greeted).start()

    service.on[messages.Hello] = late
    with hearth.client.connect(service.path, timeout=0.05) as client:
        assert client.welcome.server == "test"


def test_a_full_queue_of_connections_is_given_up_in_time(tmp_path):
    path = str(tmp_path / "hearth.sock")
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        for _ in range(3):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(path)
        with pytest.raises(errors.NotReachable, match="overloaded") as raised:
            hearth.client.connect(path)
        assert path in str(raised.value) and "HEARTH_SOCKET" in str(raised.value)
        for connecting in waiting:
            connecting.close()


def test_every_place_that_was_tried_is_named_though_one_is_overloaded(tmp_path, monkeypatch):
    monkeypatch.delenv("HEARTH_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "hearth").mkdir()
    path = str(tmp_path / "hearth" / "hearth.sock")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(path)
        listener.listen(0)
        for _ in range(3):
            connecting = waiting.enter_context(socket.socket(socket.AF_UNIX))
            connecting.setblocking(False)
            connecting.connect_ex(path)
        with pytest.raises(errors.NotReachable, match="overloaded") as raised:
            hearth.client.connect()
    assert path in str(raised.value) and "/run/hearth/hearth.sock" in str(raised.value)
    assert "HEARTH_SOCKET" in str(raised.value)


def test_the_socket_that_denied_us_is_the_one_to_look_at(tmp_path, monkeypatch):
    monkeypatch.delenv("HEARTH_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = f"{tmp_path}/hearth/hearth.sock"

    def connect(_socket, tried):  # root, too, is denied
        raise PermissionError(13, "Permission denied") if tried == path else FileNotFoundError(2)

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(errors.NotReachable, match=f"ls -l {path}`"):
        hearth.client.connect()


def test_a_service_that_knows_no_common_version_names_both(service):
    service.on[messages.Hello] = lambda peer, _frame, hello: peer.send(
        messages.Error(code="version", what=f"hearthd 9 speaks 7 to 9, you {hello.newest}.")
    )
    with pytest.raises(errors.Version, match="speaks 7 to 9.*hearth 0.1.0 and speaks protocol 2"):
        hearth.client.connect(service.path)


def test_a_version_that_we_never_offered_is_refused(service):
    def welcome(peer, _frame, _hello):
        reply = messages.Welcome(
            version=4, server="hearthd 9", boot_id="b", connection=1, limits=fake.LIMITS,
            schema_hash="",
        )  # fmt: skip
        peer.send(reply)

    service.on[messages.Hello] = welcome
    with pytest.raises(errors.Version, match="hearthd 9.* speaks protocol 4"):
        hearth.client.connect(service.path)


def test_a_service_of_another_kind_is_not_understood(service):
    service.on[messages.Hello] = lambda peer, _frame, _hello: peer.send_bytes(b"HTTP/1.1 400 Bad\r")
    with pytest.raises(errors.Internal, match="unintelligible"):
        hearth.client.connect(service.path)


def test_the_greeting_says_who_we_are(client, service):
    (hello,) = service.peer.messages_of(messages.Hello)
    assert (hello.oldest, hello.newest) == (
        messages.OLDEST_PROTOCOL_VERSION,
        messages.PROTOCOL_VERSION,
    )
    assert "hearth 0.1.0" in hello.client and len(hello.instance) == 32
    assert client.welcome.server == "test"


@pytest.mark.parametrize(
    ("started_as", "name"),
    [
        ("main.py", "ComfyUI"),
        ("/srv/b/main.py", "b"),
        ("/main.py", "main.py"),
        ("/usr/lib/hearth/__main__.py", "hearth"),
        ("/usr/bin/caption-all", "caption-all"),
        ("", "python"),
    ],
)
def test_a_program_is_called_by_its_name_or_by_its_folders(
    service, tmp_path, monkeypatch, started_as, name
):
    (tmp_path / "ComfyUI").mkdir()
    monkeypatch.chdir(tmp_path / "ComfyUI")
    monkeypatch.setattr("sys.argv", [started_as])
    said = []
    service.on[messages.Hello] = lambda *heard: (said.append(heard[2].client), fake.welcome(*heard))
    hearth.client.connect(service.path).close()
    assert said == [f"{name} (hearth {VERSION})"]
