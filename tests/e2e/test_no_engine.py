"""The engine's libraries are not there, as before `hearth setup`."""

import contextlib

import pytest
from hostile import chat
from service import wait_until

import hearth.client


@pytest.fixture
def no_engine(tmp_path, start_daemon, monkeypatch):
    """A daemon whose engine ends as one does that its loader gave up."""
    engine = tmp_path / "hearth-worker"
    complaint = "libtorch_cpu.so: cannot open shared object file"
    engine.write_text(f"#!/bin/sh\necho '{complaint}' >&2\nexit 127\n")
    engine.chmod(0o755)
    monkeypatch.setattr("service.Daemon._is_ready", lambda daemon: daemon.process.poll() is None)
    return start_daemon("--worker", engine)


def test_the_service_runs_and_a_request_says_what_brings_an_engine(no_engine, model):
    def is_failed():
        with contextlib.suppress(hearth.client.NotReachable), no_engine.connect() as client:
            return client.status().worker_state == "failed"
        return False

    wait_until(is_failed, 30, "a status that says there is no engine")
    with no_engine.connect() as client, pytest.raises(hearth.client.HearthError) as told:
        client.generate(client.offer_model(model), chat("hello"))
    assert "no engine" in told.value.what and "libtorch" in told.value.what
    assert "hearth setup" in told.value.hint
    assert "libtorch_cpu.so: cannot open" in no_engine.log.read_text()
