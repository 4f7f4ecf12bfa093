"""What `hearth status`, `hearth top` and `hearth doctor` look like, at 40, 80 and 120 columns.

The screens lie in tests/python/screens; HEARTH_MAKE_SCREENS=1 writes them anew: look at them.
"""

import io
import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.screen import Screen

from hearth import messages
from hearth.cli import status, top, top_view
from hearth.cli.top import Live
from hearth.cli.top_view import Look, View
from server import replies, wait_until

SCREENS = Path(__file__).parent / "screens"
GPU = messages.Device(
    kind="cuda", name="NVIDIA H200", memory_bytes=143771 << 20, compute_capability="9.0",
    built_for=["8.0", "9.0"], bandwidth_bytes_per_s=4_800_000_000_000,
)  # fmt: skip
STATE = messages.DeviceState(
    source="nvml", clock_mhz=1980, memory_clock_mhz=3201, power_w=412.0, power_limit_w=700.0,
    temperature_c=54, memory_used_bytes=96 << 30, memory_total_bytes=143771 << 20,
)  # fmt: skip
SLOW = messages.DeviceState(
    source="nvml", clock_mhz=1200, power_w=699.0, power_limit_w=700.0, temperature_c=88,
    throttled_by=["power_cap", "thermal"], memory_used_bytes=139 << 30,
    memory_total_bytes=143771 << 20,
)  # fmt: skip
MODELS = [
    messages.ModelEntry(
        model="a1", name="Qwen3-VL-8B-Instruct", family="qwen3_vl", dtype="int8", state="hot",
        resident_bytes=11 << 30, image_bytes=9 << 30, loads=1, holders=2, leaves_in_ms=596_000,
        idle_ms=4000,
    ),
    messages.ModelEntry(
        model="b2", name="Qwen3-VL-235B-A22B-Instruct-with-a-long-name", dtype="int4",
        state="loading", loads=3, holders=1,
    ),
    messages.ModelEntry(model="c3", name="ember", dtype="bfloat16", state="hot", pinned=True,
                        resident_bytes=666 << 20, is_public=True),
    messages.ModelEntry(model="d4", name="Qwen2.5-VL-7B", state="warm", image_bytes=15 << 30),
    messages.ModelEntry(model="e5", name="cold-one", state="cold"),
]  # fmt: skip
CLIENTS = [
    messages.ClientEntry(
        connection=1, client="ComfyUI (hearth 0.1.0)", pid=4001, uid=1000, arena_bytes=512 << 20,
        generated_tokens=1200, served=40, failed=2,
    ),
    messages.ClientEntry(connection=2, client="batch_caption.py (hearth 0.1.0)", pid=4002, uid=1001,
                         arena_bytes=64 << 20, generated_tokens=90_000),
    messages.ClientEntry(connection=3, client="notebook (hearth 0.1.0)", pid=4003, uid=1000,
                         stalled=True),
    messages.ClientEntry(connection=4, client="hearth (hearth 0.1.0)", pid=4004, uid=0),
]  # fmt: skip
JOBS = [
    messages.JobEntry(job=7, kind="generate", state="running", connection=1, client="ComfyUI",
                      uid=1000, name="Qwen3-VL-8B-Instruct", waited_ms=40, running_ms=2600,
                      tokens=310),
    messages.JobEntry(job=8, kind="encode", state="loading", connection=2, uid=1001,
                      client="batch_caption.py", name="Qwen3-VL-235B-A22B-Instruct",
                      waited_ms=15_000),
    messages.JobEntry(job=9, kind="count_tokens", state="queued", connection=2, uid=1001,
                      client="batch_caption.py", name="ember", waited_ms=7_300_000, place=1),
    messages.JobEntry(job=10, kind="load", state="queued", connection=0, uid=1002, client="gone.py",
                      name="Big", waited_ms=90_000, place=2),
]  # fmt: skip


def report(**changed):
    return messages.StatusReport(
        **{
            "server": "hearthd 0.1.0", "boot_id": "b", "uptime_ms": 11_520_000,
            "worker_state": "ready", "worker_pid": 4711, "worker_restarts": 1, "devices": [GPU],
            "slots": 8, "running": 1, "queued": 2, "served": 1234, "failed": 5, "arenas": 6,
            "arena_bytes": 576 << 20, "memory_bytes": 103 << 30, "memory_budget_bytes": 131 << 30,
            "warm_bytes": 24 << 30, "warm_budget_bytes": 32 << 30, "models": MODELS,
            "clients": CLIENTS, "health": "warm", "device_state": STATE,
            "generated_tokens": 987_654, "tokens_per_second": 143.2, "upgrades": 2,
            "log": "journal",
            "last_errors": [
                messages.ErrorEntry(at_ms=1_000_000_000_000, code="out_of_memory",
                                    what="8.1 GiB are needed and 2.0 GiB free", model="Big",
                                    client="ComfyUI (hearth 0.1.0)"),
            ],
            **changed,
        }
    )  # fmt: skip


ILL = report(
    health="failed", mode="draining", worker_state="failed", running=0, tokens_per_second=0.0,
    health_reasons=["the engine ended 4 times within 10 minutes", "the last time: CUDA error 700"],
    device_state=SLOW, memory_bytes=130 << 30,
    quarantined=[messages.QuarantineEntry(model="x", name="Bad", operation="load", deaths=2,
                                          left_ms=500_000)],
)  # fmt: skip
LOOK = Look(10.0, report(), JOBS)
BEFORE = Look(
    8.0,
    report(clients=[CLIENTS[0], messages.ClientEntry(connection=2, generated_tokens=89_000)]),
    [messages.JobEntry(job=7, kind="generate", state="running", tokens=30)],
)


def drawn(parts, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in parts:
        console.print(part)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


CASES = {
    "status": lambda: status.screen_of(report(), 2, False),
    "status_all": lambda: status.screen_of(report(), 2, True),
    "status_ill": lambda: status.screen_of(ILL, 2, False),
    "top": lambda: [top_view.screen(LOOK, BEFORE, View(with_keys=True))],
    "top_gone": lambda: [top_view.screen(LOOK, BEFORE, View("tok/s", True, "11:59:30", 2.0, True))],
    "top_ill": lambda: [top_view.screen(Look(1.0, ILL, []), None, View())],
}


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", CASES)
def test_a_screen_is_as_it_was_looked_at(name, width, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(top_view.time, "strftime", lambda *_: "12:00:00")
    made = drawn(CASES[name](), width)
    path = SCREENS / f"{name}_{width}.txt"
    if os.environ.get("HEARTH_MAKE_SCREENS"):
        SCREENS.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8")
    assert made == path.read_text(encoding="utf-8")
    if name.startswith("top"):
        assert max(map(len, made.splitlines())) <= width


def test_rates_are_of_the_time_between_two_looks():
    rows = {(row.client, row.operation): row for row in top_view.rows_of(LOOK, BEFORE)}
    assert rows[("ComfyUI", "generate")].rate == 140.0
    assert rows[("batch_caption.py", "encode")].rate == 0.0
    assert rows[("notebook", "")].state == "!"
    assert rows[("gone.py", "load")].shared_bytes is None, "of nobody who is connected"
    first = top_view.rows_of(LOOK, None)[0]
    assert first.rate == pytest.approx(310 / 2.6), "since it runs"
    idle = top_view.rows_of(Look(10.0, report(), []), BEFORE)[1]
    assert (idle.state, idle.rate) == ("I", 500.0)


def test_counters_of_another_boot_are_not_compared():
    other = Look(8.0, report(boot_id="earlier"), BEFORE.jobs)
    assert top_view.rows_of(LOOK, other)[0].rate == pytest.approx(310 / 2.6)


@pytest.mark.parametrize(
    "sort, first", [("busy", "ComfyUI"), ("wait", "batch_caption.py"), ("tok/s", "ComfyUI"),
                    ("shm", "ComfyUI"), ("client", "ComfyUI")],
)  # fmt: skip
def test_rows_are_sorted_by_what_was_asked_for(sort, first):
    assert top_view.sorted_rows(top_view.rows_of(LOOK, BEFORE), sort)[0].client == first


@pytest.mark.parametrize("width, height", [(100, 24), (100, 14), (40, 24)])
def test_more_rows_than_fit_are_counted_and_the_keys_stay(width, height):
    look = Look(1.0, report(clients=[]), [JOBS[3]] * 60)
    page = Screen(top_view.screen(look, None, View(with_keys=True)))
    console = Console(width=width, height=height, color_system=None)
    text = "\n".join(
        "".join(part.text for part in line).rstrip() for line in console.render_lines(page)
    ).rstrip()
    assert len(text.splitlines()) <= height
    assert "q quit" in text
    assert f"\n{60 - text.count('gone.py')} more\n" in text
    assert text.count("gone.py") > 1


def test_keys_change_the_view_and_nothing_else(service, client):
    service.on[messages.Status] = replies(report())
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=JOBS))
    live = Live(client, View(), lambda _: "q")
    assert live.pressed(None) and live.pressed("x")
    live.pressed("s")
    assert live._view.sort == "wait"
    live.pressed("5")
    assert live.interval_s == 5.0
    live.pressed(" ")
    before = live._now
    live.look()
    assert live._now is before, "paused"
    assert not live.pressed("q")


def test_a_service_that_is_started_again_is_waited_for(service, client):
    service.on[messages.Status] = replies(report())
    live = Live(client, View(), lambda _: None)
    service.stop()
    wait_until(lambda: service.peer.is_gone)
    live.look()
    assert "does not answer since" in drawn([live.drawn()], 100)
    service.start()
    live.look()
    assert "does not answer" not in drawn([live.drawn()], 100)


def test_a_pipe_gets_one_look_or_a_line_for_each(service, command):
    service.on[messages.Status] = replies(report())
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=JOBS))
    code, out, _ = command("top", "--socket", service.path)
    assert code == 0 and "ComfyUI" in out and "quit" not in out and "\x1b" not in out
    code, out, _ = command("top", "--once", "--json", "--socket", service.path)
    assert code == 0 and '"jobs": [{"job": 7' in out
    assert command("top", "--interval", "0", "--socket", service.path)[0] == 2


def test_an_older_service_lists_no_jobs(service, client):
    service.on[messages.Status] = replies(report())
    service.on[messages.ListJobs] = replies(messages.Error(code="unknown_message", what="?"))
    assert top.look_at(client).jobs == []


def test_a_service_that_has_failed_is_exit_code_5(service, command):
    service.on[messages.Status] = replies(ILL)
    code, out, _ = command("status", "--socket", service.path)
    assert code == 5 and "CUDA error 700" in out
