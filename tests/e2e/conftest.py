"""The whole path: real daemon, real worker, real client, and the family that needs no weights."""

import json
import signal

import numpy
import pytest
from ledger import balanced
from service import BIN, Daemon

LIMIT_S = 120


def pytest_configure(config):
    config.addinivalue_line("markers", "watchdog(seconds): how long this test may take")
    config.addinivalue_line("markers", "fault(row): a row of the table that faults.py proves")
    if not (BIN / "hearthd").exists():
        pytest.exit(f"{BIN / 'hearthd'} is not built; HEARTH_BIN names another folder", 1)


@pytest.fixture(autouse=True)
def watchdog(request):
    """A test that hangs fails."""
    marker = request.node.get_closest_marker("watchdog")
    limit_s = marker.args[0] if marker else LIMIT_S

    def end(_signal, _frame):
        raise TimeoutError(f"the test took more than {limit_s} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(limit_s)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what the daemon said."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in getattr(item, "daemons", []):
            report.sections.append((f"log of {daemon.socket}", daemon.log_tail()))


def _watch(request, daemon):
    request.node.daemons = [*getattr(request.node, "daemons", []), daemon]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A daemon for all tests of a module that leave it as they found it."""
    daemon = Daemon(tmp_path_factory.mktemp("hearthd"))
    try:
        yield daemon.start()
    finally:
        code = daemon.stop()
    assert code == 0, daemon.log_tail()


@pytest.fixture
def daemon(request, running):
    _watch(request, running)
    return running


@pytest.fixture
def client(daemon):
    with daemon.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def resident(running, tmp_path_factory):
    """A model that is loaded for as long as the module's daemon runs."""
    folder = _write_model(tmp_path_factory.mktemp("resident") / "model")
    with running.connect() as client:
        warm_up(client, client.offer_model(folder))
    return folder


@pytest.fixture
def ledger(daemon, resident):
    """The test gives back all that it takes from the module's daemon."""
    with balanced(daemon):
        yield


@pytest.fixture
def start_daemon(request, tmp_path):
    """start_daemon(*arguments): a daemon that the test may do anything to."""
    started = []

    def start(*arguments):
        folder = tmp_path / f"hearthd-{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, *arguments))
        _watch(request, started[-1])
        return started[-1].start()

    yield start
    for daemon in started:
        daemon.stop()


def warm_up(client, model):
    """Everything that is opened at its first use has been used."""
    picture = numpy.zeros((8, 8, 3), numpy.uint8)
    client.generate(model, [{"role": "user", "content": [picture, "hello"]}])


def _write_model(folder, **config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "hearth_fake", **config}))
    return folder


@pytest.fixture
def fake_model(tmp_path):
    """fake_model(**config): a new model folder of the fake family."""
    made = []

    def make(**config):
        made.append(_write_model(tmp_path / f"model-{len(made)}", **config))
        return made[-1]

    return make


@pytest.fixture
def model(fake_model):
    return fake_model()
