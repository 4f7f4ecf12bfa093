"""Fixtures of the client's tests: a service that does what a test says, and a client of it."""

import signal
import time
import warnings

import numpy
import pytest

import hearth.client
import server as fake
from hearth import results

LIMIT_S = 60


def pytest_configure():
    """What we start can be ended, although a background job of a shell ignores Ctrl-C, and one
    under nohup the end of its terminal. That ends nothing here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # unlike ignoring, not inherited


@pytest.fixture
def watchdog():
    """A test that hangs fails."""

    def end(_signal, _frame):
        raise TimeoutError(f"the test took more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def service(tmp_path, watchdog):
    with fake.Server(tmp_path) as running:
        yield running


@pytest.fixture
def client(service):
    with hearth.client.connect(service.path) as connected:
        yield connected


@pytest.fixture(params=["torch", "numpy"])
def package(request, monkeypatch):
    """torch, and how things are where it is not installed."""
    if request.param == "torch":
        return pytest.importorskip("torch")
    monkeypatch.setattr(results, "_torch", lambda: None)
    return numpy


@pytest.fixture
def command(capsys, monkeypatch):
    """command(*words) runs the `hearth` command in this process: (exit code, stdout, stderr)."""
    from hearth import cli

    monkeypatch.delenv("HEARTH_SOCKET", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def run(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
