"""A running service is looked after: drained, put to sleep, its jobs ended, its models pinned."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from service import Daemon, is_alive, wait_until

from hearth import errors

GIB = 1 << 30
NOBODY = 65_534
ADMIN_GROUP = 4242
CLIENTS = 4


def ask(text):
    return [{"role": "user", "content": text}]


class Load:
    """Clients that ask one question after another until the block ends. Every answer must be the
    right one: what is sent again may not be lost, doubled or cut."""

    def __init__(self, daemon, folder, words="!wait 2 !count 30"):
        self._daemon, self._folder, self._words = daemon, folder, words
        self._has_ended = threading.Event()
        self.answers = [0] * CLIENTS
        self.failures = []
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(CLIENTS)]

    def _work(self, number):
        try:
            with self._daemon.connect() as client:
                model = client.offer_model(self._folder)
                while not self._has_ended.is_set():
                    text = f"client-{number} answer-{self.answers[number]}"
                    reply = client.generate(model, ask(f"{self._words} {text}"), temperature=0)
                    assert text in reply.text, reply.text
                    assert reply.text.endswith(" 30")
                    self.answers[number] += 1
        except Exception as error:
            self.failures.append(f"client {number}: {error!r}")

    def wait_for_more(self, each=1):
        """Until every client has so many answers more than now."""
        wanted = [count + each for count in self.answers]
        wait_until(
            lambda: self.failures or all(a >= b for a, b in zip(self.answers, wanted, strict=True)),
            60,
            f"{each} more answers for each client",
        )

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_):
        self._has_ended.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []


def test_draining_under_load_loses_no_request(start_daemon, model):
    daemon = start_daemon("--slots", "2")
    with Load(daemon, model) as load, daemon.connect() as admin:
        for _ in range(2):
            assert admin.drain(30) == "Nothing is open."
            status = admin.status()
            assert (status.mode, status.running, status.queued) == ("drained", 0, 0)
            assert admin.jobs() == []
            before = list(load.answers)
            admin.resume()
            assert admin.status().mode == "serving"
            load.wait_for_more()
            assert sum(load.answers) > sum(before)


def test_draining_to_stop_lets_open_answers_end_and_the_service_exits_well(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client, daemon.connect() as admin:
        words = "!wait 10 !count 100"
        stream = client.generate(client.offer_model(model), ask(words), stream=True)
        next(stream)
        admin.drain(30, "stop")
        assert stream.reply.text.endswith(" 100")
    assert daemon.process.wait(20) == 0
    assert not daemon.socket.exists()


def test_a_drain_ends_what_takes_too_long(start_daemon, model):
    daemon = start_daemon()
    with daemon.connect() as client, daemon.connect() as admin:
        words = "!wait 20 !count 2000"
        stream = client.generate(client.offer_model(model), ask(words), True, max_tokens=4000)
        next(stream)
        assert "1 open requests were ended" in admin.drain(0.1)
        with pytest.raises(errors.ShuttingDown, match="cut off"):
            list(stream)
        wait_until(lambda: admin.status().running == 0, what="a free slot")


def test_sleeping_under_load_loses_no_request(start_daemon, model):
    daemon = start_daemon("--slots", "2")
    with Load(daemon, model) as load, daemon.connect() as admin:
        for timeout in (10, 0.05, 0):
            worker = admin.status().worker_pid
            admin.suspend(timeout)
            status = admin.status()
            assert (status.mode, status.worker_pid, status.running) == ("suspended", 0, 0)
            assert not is_alive(worker)
            assert all(entry.state == "cold" for entry in status.models)
            wait_until(lambda: admin.jobs(), what="a request that waits")
            admin.resume()
            load.wait_for_more()
        assert admin.status().worker_restarts == 0


def test_a_pinned_model_stays_while_others_take_turns(start_daemon, fake_model):
    daemon = start_daemon("--memory", "9GiB")
    with daemon.connect() as client:
        pinned, *others = [
            client.offer_model(fake_model(weights_bytes=4 * GIB, prefix=f"number-{i}"))
            for i in range(3)
        ]
        client.load(pinned)
        client.pin(pinned)
        for turn in range(6):
            other = others[turn % 2]
            reply = client.generate(other, ask(f"turn {turn}"), temperature=0)
            assert reply.text == f"number-{1 + turn % 2} turn {turn}"
        entries = {entry.model: entry for entry in client.status().models}
        assert entries[pinned.id].state == "hot" and entries[pinned.id].loads == 1
        assert entries[pinned.id].pinned and entries[others[0].id].loads == 3
        assert client.free_memory().models == [others[1].name]
        assert client.evict(pinned).models == [pinned.name]
        assert {entry.state for entry in client.models()} <= {"cold", "warm"}


def test_an_idle_model_leaves_by_itself_and_returns_when_it_is_wanted(start_daemon, model):
    daemon = start_daemon("--keep-alive", "300ms")
    with daemon.connect() as client:
        offered = client.offer_model(model)
        words = "!wait 5 !count 150"
        assert client.generate(offered, ask(words)).text.endswith(" 150"), "work is no idleness"
        wait_until(lambda: client.models()[0].state != "hot", what="the end of an idle model")
        assert client.generate(offered, ask("again")).text == "again"
        entry = client.models()[0]
        assert entry.loads == 2 and entry.leaves_in_ms <= 300


def test_another_programs_job_is_seen_and_ended(daemon, model, ledger):
    with daemon.connect() as owner, daemon.connect() as other:
        assert other.status().log == str(daemon.log)
        offered = owner.offer_model(model)
        stream = owner.generate(offered, ask("!wait 20 !count 2000"), True, max_tokens=4000)
        next(stream)
        wait_until(lambda: other.jobs()[0].tokens > 3, what="more tokens")
        (job,) = other.jobs()
        assert (job.state, job.kind, job.pid) == ("running", "generate", os.getpid())
        other.cancel_job(job.job)
        with pytest.raises(errors.Cancelled, match=f"process {os.getpid()}"):
            list(stream)
        wait_until(lambda: other.jobs() == [], what="the end of the job")
        entry = next(c for c in other.status().clients if c.connection == job.connection)
        assert entry.failed == 1 and entry.served == 0
        owner.unload(offered)
        other.kick(job.connection)
        wait_until(lambda: len(other.status().clients) == 1, what="the end of the connection")
        assert owner.ping() >= 0, "it may come again"
        assert len(other.status().clients) == 2


def as_nobody(act, groups=()):
    """What act() returns, as words, in a process of a user who is a member of these groups."""
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(say, repr(act()).encode())
        except BaseException as error:
            os.write(say, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(said, "rb") as pipe:
        words = pipe.read().decode()
    os.waitpid(child, 0)
    return words


@pytest.fixture
def public():
    """A service that everybody may use, but only its own user and group 4242 may administer."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    daemon = Daemon(folder, "--admin-group", str(ADMIN_GROUP)).start()
    daemon.socket.chmod(0o666)
    yield daemon
    try:
        assert daemon.stop() == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_may_ask_but_not_administer(public, model):
    def act():
        codes = []
        with public.connect() as client:
            assert not client.status().may_administer
            jobs = client.jobs()
            running = int(job_path.read_text())
            for call in (
                lambda: client.cancel_job(running),
                lambda: client.kick(1),
                lambda: client.pin("x"),
                lambda: client.drain(1),
                lambda: client.suspend(1),
                lambda: client.resume(),
                lambda: client.clear_quarantine(),
                lambda: client.upgrade(),
            ):
                try:
                    call()
                except errors.HearthError as error:
                    codes.append(error.code)
        return jobs, set(codes), len(codes)

    job_path = public.socket.parent / "job"
    with public.connect() as client:
        assert client.status().may_administer
        words = "!wait 20 !count 300"
        stream = client.generate(client.offer_model(model), ask(words), stream=True)
        next(stream)
        job_path.write_text(str(client.jobs()[0].job))
        job_path.chmod(0o644)
        assert as_nobody(act) == repr(([], {"denied"}, 8))
        assert client.status().mode == "serving"
        stream.cancel()
        for _ in stream:
            pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_members_of_the_admin_group_administer(public):
    def act():
        with public.connect() as client:
            assert client.status().may_administer
            client.drain(1)
            mode = client.status().mode
            client.resume()
            return mode, client.status().mode

    assert as_nobody(act, [7, ADMIN_GROUP]) == repr(("drained", "serving"))
