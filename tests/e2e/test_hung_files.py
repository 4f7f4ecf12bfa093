"""A client names files of a file system that takes calls and never answers them."""

import contextlib
import ctypes
import os
import struct
import threading

import hostile
import pytest
from service import wait_until

from hearth import errors, messages

ENTRY_BYTES = 10  # of the one file
MNT_FORCE = 1
LOOKUP, GETATTR, OPEN, FLUSH, INIT = 1, 3, 14, 25, 26
NO_ANSWER = (2, 36, 42)  # forget, interrupt, forget many
ENOSYS = 38
libc = ctypes.CDLL(None, use_errno=True)


def attributes(node):
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("<6Q10I", node, ENTRY_BYTES, 1, *[0] * 6, mode, 1, 0, 0, 0, 4096, 0)


def body_of(operation, node):
    """The answer to a FUSE request (include/uapi/linux/fuse.h), or an error number."""
    if operation == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, *[0] * 8)
    if operation == LOOKUP:
        return struct.pack("<4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)
    if operation == GETATTR:
        return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if operation == OPEN:
        return struct.pack("<Q2I", 1, 0, 0)
    return ENOSYS


class HungFiles:
    """A file system with one file, that somebody may open before it hangs. Nobody in this process
    asks it anything after that: not even SIGKILL would end it."""

    def __init__(self, mount_point):
        self.path = str(mount_point).encode()
        self.held = 0  # calls that were taken and are not answered
        self._hangs = False
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if libc.mount(b"hung", self.path, b"fuse", 0, options.encode()) != 0:
            error = ctypes.get_errno()
            os.close(self._device)
            raise OSError(error, os.strerror(error))
        self._server = threading.Thread(target=self._serve)
        self._server.start()
        self.fd = os.open(self.path + b"/weights", os.O_RDONLY | os.O_CLOEXEC)
        os.close(os.dup(self.fd))  # so that the kernel knows that closing asks nobody
        self._hangs = True

    def _serve(self):
        with contextlib.suppress(OSError):  # ENODEV: it was unmounted
            while True:
                request = os.read(self._device, 1 << 20)
                _, operation, number, node = struct.unpack_from("<2I2Q", request)
                if operation in NO_ANSWER:
                    continue
                if self._hangs:
                    self.held += 1
                    continue
                answer = body_of(operation, node)
                error, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
                head = struct.pack("<IiQ", 16 + len(body), error, number)
                os.write(self._device, head + body)

    def let_go(self):
        """Every call that hangs ends with an error."""
        libc.umount2(self.path, MNT_FORCE)
        self._server.join()

    def close(self):
        self.let_go()
        os.close(self.fd)
        os.close(self._device)
        libc.umount2(self.path, 0)


@pytest.fixture
def hung_files(tmp_path):
    mount_point = tmp_path / "hung"
    mount_point.mkdir()
    try:
        files = HungFiles(mount_point)
    except OSError as error:
        pytest.skip(f"no FUSE for this user: {error}")
    yield files
    files.close()


def offer(peer, files):
    message = messages.OfferModel(name="hung", labels=["model.safetensors"])
    return peer.send(message, fds=[files.fd])


def test_a_hung_file_of_a_client_holds_up_no_settings_and_no_upgrade_for_good(
    start_daemon, hung_files
):
    daemon = start_daemon()
    with daemon.connect(30) as admin, hostile.Peer(daemon.socket) as peer:
        offered = offer(peer, hung_files)
        wait_until(lambda: hung_files.held > 0, what="a thread that hangs")
        assert admin.reload_config().problems == []
        pinged = peer.send(messages.Ping())
        peer.answer(pinged)
        assert offered not in peer.ended, "the settings waited for the file"
        assert "do not answer" in peer.answer(offered).what
        assert f"pid {os.getpid()}" in daemon.log.read_text()
        with pytest.raises(errors.Busy, match="the new program would wait with it"):
            admin.upgrade()
        assert admin.reload_config().problems == []
        hung_files.let_go()
        wait_until(lambda: upgraded(admin), 30, "an upgrade")
        assert admin.status().worker_restarts == 0


def upgraded(admin):
    with contextlib.suppress(errors.Busy):
        admin.upgrade()
        return True
    return False
