"""What the service says of itself: log, records, metrics, health; and what it never says."""

import json
import os
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families
from service import ROOT, wait_until
from test_command import run

import hearth.client

SECRET = "xylophonist"  # in prompts, labels, answers, parameters and made-up names
DOCUMENT = (ROOT / "docs/metrics.md").read_text()


def chat(words):
    return [{"role": "user", "content": words}]


def declared():
    """Names and types of docs/metrics.md, which a unit test compares with the service's table."""
    rows = [line.split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| `hearth_")]
    return {row[0].strip("| `"): row[1] for row in rows}


def entries(daemon):
    return [json.loads(line) for line in daemon.log.read_text().splitlines() if line[:1] == "{"]


def events(daemon):
    return {entry["event"] for entry in entries(daemon) if "event" in entry}


@pytest.fixture
def observed(start_daemon, tmp_path):
    daemon = start_daemon(
        "--log-format", "json", "--log-level", "debug", "--metrics-file", tmp_path / "hearth.prom"
    )  # fmt: skip
    daemon.metrics_file = tmp_path / "hearth.prom"
    return daemon


def misuse(client, model):
    """Every way to have a text of one's own in an error."""
    attempts = [
        lambda: client.generate(f"{SECRET}", chat("x")),
        lambda: client.generate(model, chat(SECRET * 4000)),
        lambda: client.generate(model, chat(SECRET), regex=f"({SECRET}"),
        lambda: client.generate(model, chat(SECRET), json_schema=json.dumps({"type": SECRET})),
        lambda: client.generate(model, chat(SECRET), json_schema=f'{{"{SECRET}'),
        lambda: client.generate(model, chat(f"!fail prefill {SECRET}")),
    ]
    for attempt in attempts:
        with pytest.raises(hearth.client.HearthError):
            attempt()


def test_nothing_that_people_write_or_read_is_told_to_others(observed, model):
    with observed.connect() as client:
        offered = client.offer_model(model)
        reply = client.generate(offered, chat(f"find the {SECRET}, say {SECRET}"), temperature=0)
        assert SECRET in reply.text, "the answer shall hold it, too"
        client.generate(offered, chat(f"{SECRET} again"), reuse=True, seed=1)
        client.encode(offered, chat(SECRET))
        misuse(client, offered)
        told = [client.metrics(), repr(client.requests()), repr(client.status())]
        assert len(client.requests()) >= 6
    observed.stop()
    log = observed.log.read_text()
    assert {"model_loaded", "request_ended", "connection_greeted"} <= events(observed)
    for text in [*told, log, observed.metrics_file.read_text()]:
        found = text.find(SECRET)
        assert found < 0, text[max(0, found - 200) : found + 100]


def test_every_line_of_the_log_is_an_object_with_the_same_keys(observed, model):
    with observed.connect() as client:
        receipt = client.generate(client.offer_model(model), chat("hello")).receipt
        wait_until(lambda: "request_ended" in events(observed), what="the request's line")
    lines = [line for line in observed.log.read_text().splitlines() if "is ready:" not in line]
    for line in lines:
        entry = json.loads(line)
        assert list(entry)[:2] == ["ts", "level"] and {"program", "process", "msg"} <= set(entry)
    (ended,) = [
        entry
        for entry in entries(observed)
        if entry.get("event") == "request_ended" and entry["request"] == receipt.request
    ]
    assert (ended["op"], ended["code"], ended["uid"]) == ("generate", "ok", os.getuid())
    assert ended["ms"] == pytest.approx(receipt.total_ms, abs=50)


def test_prompts_are_logged_only_where_that_is_asked_for(start_daemon, model):
    daemon = start_daemon("--log-format", "json", "--log-prompts")
    with daemon.connect() as client:
        client.generate(client.offer_model(model), chat(f"what is a {SECRET}?"))
        wait_until(lambda: "prompt" in events(daemon), what="the prompt's line")
    assert "prompts_are_logged" in events(daemon)
    (prompt,) = [entry for entry in entries(daemon) if entry.get("event") == "prompt"]
    assert f"what is a {SECRET}?" in prompt["msg"] and prompt["level"] == "info"


def test_the_metrics_are_what_the_document_declares(observed, model):
    with observed.connect() as client:
        client.generate(client.offer_model(model), chat("hello"), max_tokens=8)
        text = client.metrics()
        families = {family.name: family for family in text_string_to_metric_families(text)}
    known = declared()
    for name, family in families.items():
        full = f"{name}_total" if family.type == "counter" else name
        assert known.get(full) == family.type, full
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["hearth_requests_total", "generate", model.name, "ok"] == 1
    assert samples["hearth_first_token_seconds_count", "cold"] == 1
    assert samples["hearth_health_level",] == 4
    assert samples["hearth_connections", str(os.getuid())] == 1
    assert samples["hearth_process_descriptors",] > 3

    def is_in_the_file():
        written = text_string_to_metric_families(observed.metrics_file.read_text())
        return any(sample.value == 4 for f in written if f.name == "hearth_health_level"
                   for sample in f.samples)  # fmt: skip

    wait_until(is_in_the_file, 20, "the file with the level")


def test_health_rises_falls_and_says_why(start_daemon, model):
    daemon = start_daemon("--restart-pause", "5s")
    with daemon.connect() as client:
        assert client.status().health == "gpu_ok"
        offered = client.offer_model(model)
        client.load(offered)
        report = client.status()
        assert report.health == "loaded" and "has answered" in report.health_reasons[0]
        client.generate(offered, chat("hello"))
        report = client.status()
        assert (report.health, report.health_reasons) == ("warm", [])
        os.kill(report.worker_pid, signal.SIGKILL)
        wait_until(lambda: client.status().worker_restarts == 1, what="the engine's end")
        wait_until(lambda: client.status().health == "gpu_ok", 60, "the next engine")
        (error,) = client.status().last_errors
        assert error.code == "worker_lost" and "Killed" in error.what


def test_records_explain_and_trace_what_happened(start_daemon, fake_model, tmp_path):
    daemon = start_daemon()
    with daemon.connect() as client:
        quick, away = client.offer_model(fake_model()), client.offer_model(fake_model())
        for _ in range(6):
            client.generate(quick, chat("hello"), temperature=0)
        slow = client.generate(quick, chat("!wait prefill 500 hello"), temperature=0)
        client.generate(away, chat("hello"))
        numbers = [record.request for record in client.requests()]
        page = client.requests(limit=3, before=numbers[2])
        assert [record.request for record in page] == numbers[3:6]
    assert slow.receipt.request in numbers and numbers == sorted(numbers, reverse=True)
    code, out, err = run("explain", slow.receipt.request, "--socket", daemon.socket)
    assert code == 0, err
    assert f"request {slow.receipt.request}: generate with {quick.name}" in out
    code, out, _ = run("explain", "--json", "--socket", daemon.socket)
    assert code == 0 and json.loads(out)["request"]["is_cold"] is True
    path = tmp_path / "trace.json"
    code, out, _ = run("trace", "all", "--out", path, "--socket", daemon.socket)
    spans = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("cat") == "request"]
    assert code == 0 and {e["args"]["request"] for e in spans} == set(numbers)
    code, out, _ = run("metrics", "--socket", daemon.socket)
    assert code == 0 and "hearth_running_requests 0\n" in out
    assert run("explain", "999999", "--socket", daemon.socket)[0] == 1
