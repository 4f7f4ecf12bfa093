"""Fixtures of the client's tests: a service that does what a test says, and a client of it."""

import signal
import warnings

import numpy
import pytest

import hearth.client
import server as fake
from hearth import results

LIMIT_S = 60


def pytest_configure():
    """Ctrl-C works here and in what we start, although a background job of a shell ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
