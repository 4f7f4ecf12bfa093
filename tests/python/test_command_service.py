"""Commands that look after the service, with a service that answers as a test says."""

import json

import pytest

from hearth import messages
from server import fails, replies

DONE = replies(messages.Done(text="it is done"))
JOB = messages.JobEntry(
    job=17, kind="generate", state="running", connection=1, client="main.py (hearth 1.0)", pid=40,
    uid=1000, name="Qwen3-VL-8B", waited_ms=10, running_ms=2500, tokens=96,
)  # fmt: skip
WAITING = messages.JobEntry(job=18, kind="load", state="queued", place=1, name="Big", client="x")
ENTRIES = [
    messages.ModelEntry(
        model="m1", name="Qwen3-VL-8B", state="hot", dtype="int8", resident_bytes=9 << 30,
        holders=2, idle_ms=4000, leaves_in_ms=596_000,
    ),
    messages.ModelEntry(model="m2", name="ember", state="hot", pinned=True, is_public=True),
    messages.ModelEntry(model="m3", name="Other", state="cold"),
]  # fmt: skip
# words of the command, the message it sends
ACTS = [
    (("pin", "ember"), messages.PinModel(model="ember", pin=True)),
    (("unpin", "ember"), messages.PinModel(model="ember", pin=False)),
    (("jobs", "cancel", 17), messages.CancelJob(job=17)),
    (("clients", "kick", 4), messages.KickClient(connection=4)),
    (("drain",), messages.Drain(timeout_ms=45000, then="stay")),
    (("drain", "--timeout", 2, "--stop"), messages.Drain(timeout_ms=2000, then="stop")),
    (("suspend", "--timeout", "0.5"), messages.Suspend(timeout_ms=500)),
    (("resume",), messages.Resume()),
    (("quarantine", "clear"), messages.ClearQuarantine()),
    (("quarantine", "clear", "ember"), messages.ClearQuarantine(model="ember")),
]


@pytest.mark.parametrize(("words", "message"), ACTS, ids=lambda value: str(value)[:30])
def test_what_is_done_is_one_message_and_its_text(service, command, words, message):
    service.on[type(message)] = DONE
    assert command(*words, "--socket", service.path) == (0, "it is done\n", "")
    assert service.peer.messages_of(type(message)) == [message]
    _, out, _ = command(*words, "--json", "--socket", service.path)
    assert json.loads(out) == {"text": "it is done"}
    service.on[type(message)] = fails("denied", "No.", hint="Ask root.")
    code, _, err = command(*words, "--socket", service.path)
    assert (code, err) == (4, "hearth: No.\nAsk root.\n")


def knowing(models):
    return messages.StatusReport(
        server="h", boot_id="b", uptime_ms=1, worker_state="ready", models=models
    )


def lines_of(out):
    return [" ".join(line.split()) for line in out.splitlines()]


def test_jobs_are_listed_running_first(service, command):
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=[JOB, WAITING]))
    code, out, _ = command("jobs", "--socket", service.path)
    assert code == 0
    assert "17 running generate Qwen3-VL-8B main.py 40 1000 10 ms 2.5 s 96" in lines_of(out)
    assert any("queued, 1 before it load Big" in line for line in lines_of(out))
    _, out, _ = command("jobs", "--json", "--socket", service.path)
    assert [job["job"] for job in json.loads(out)["jobs"]] == [17, 18]
    service.on[messages.ListJobs] = replies(messages.JobList())
    assert "Nothing is at work" in command("jobs", "--socket", service.path)[1]


def test_ps_shows_what_is_in_memory_and_when_it_leaves(service, command):
    service.on[messages.Status] = replies(knowing(ENTRIES))
    code, out, _ = command("ps", "--socket", service.path)
    assert code == 0
    assert "Qwen3-VL-8B hot int8 9.0 GiB 4.0 s 9 min 2" in lines_of(out)
    assert "ember hot pinned 0, public" in lines_of(out)
    assert "Other" not in out
    assert "Other" in command("ps", "--all", "--socket", service.path)[1]
    service.on[messages.Status] = replies(knowing(ENTRIES[2:]))
    assert "1 is known" in command("ps", "--socket", service.path)[1]


def test_clients_are_listed_and_this_command_is_named(service, command):
    report = messages.StatusReport(
        server="hearth", boot_id="b", uptime_ms=1, worker_state="ready",
        clients=[
            messages.ClientEntry(connection=1, client="hearth (hearth 1.0)", pid=1),
            messages.ClientEntry(connection=9, client="main.py (hearth 1.0)", pid=2, stalled=True,
                                 served=12, failed=1, generated_tokens=345, arena_bytes=1 << 20),
        ],
    )  # fmt: skip
    service.on[messages.Status] = replies(report)
    code, out, _ = command("clients", "--socket", service.path)
    assert code == 0
    assert any(line.startswith("1 this command 1") for line in lines_of(out))
    assert any(
        line.startswith("9 main.py stalled 2 0 0 ms 0 1.0 MiB 12 1 345") for line in lines_of(out)
    )


def test_quarantine_says_why_and_for_how_long(service, command):
    assert "No model is refused" in command("quarantine", "--socket", service.path)[1]
    entry = messages.QuarantineEntry(
        model="m1", name="Bad", operation="load", deaths=2, left_ms=500_000
    )
    report = messages.StatusReport(
        server="h", boot_id="b", uptime_ms=1, worker_state="ready", quarantined=[entry]
    )
    service.on[messages.Status] = replies(report)
    _, out, _ = command("quarantine", "list", "--socket", service.path)
    assert "Bad m1 load 2 8 min" in lines_of(out)
    _, out, _ = command("quarantine", "--json", "--socket", service.path)
    assert json.loads(out)["quarantined"][0]["deaths"] == 2


def test_a_pinned_load_asks_for_the_pin_first(service, command):
    service.on[messages.PinModel] = DONE
    code, out, _ = command("load", "ember", "--pin", "--socket", service.path)
    assert code == 0 and out.endswith("pinned\n")
    kinds = [type(one) for one in service.peer.received]
    assert kinds.index(messages.PinModel) < kinds.index(messages.LoadModel)
    service.on[messages.PinModel] = fails("denied", "No.")
    assert command("load", "ember", "--pin", "--socket", service.path)[0] == 4
    assert not service.peer.messages_of(messages.LoadModel)


def test_progress_of_a_load_is_no_business_of_a_pipe(service, command):
    def loads(peer, frame, _request):
        for done in (1, 2, 3):
            event = messages.Progress(stage="loading", done=done << 30, total=3 << 30)
            peer.send(event, frame.request_id)
        reply = messages.ModelLoaded(model="m", resident_bytes=3 << 30, load_ms=900.0)
        peer.send(reply, frame.request_id)

    service.on[messages.LoadModel] = loads
    code, out, err = command("load", "ember", "--socket", service.path)
    assert (code, out, err) == (0, "ember loaded in 900 ms: 3.0 GiB\n", "")


class Leaves:
    """Busy so many times, then it leaves."""

    def __init__(self, times):
        self.left = times

    def __call__(self, peer, frame, _request):
        self.left -= 1
        busy = messages.Error(code="busy", what="It is at work.", retryable=True)
        gone = messages.MemoryFreed(freed_bytes=1 << 30, resident_bytes=0, models=["ember"])
        peer.send(busy if self.left >= 0 else gone, frame.request_id)


def test_unloading_waits_only_when_asked_to(service, command):
    service.on[messages.EvictModel] = Leaves(1)
    assert command("unload", "ember", "--socket", service.path)[0] == 1
    service.on[messages.EvictModel] = Leaves(2)
    code, out, _ = command("unload", "ember", "--wait", "--socket", service.path)
    assert code == 0 and "1.0 GiB given back (ember)" in out
    assert service.peer.messages_of(messages.EvictModel)[-1].to == "cold"
    service.on[messages.EvictModel] = Leaves(1000)
    words = ("unload", "ember", "--wait", "--timeout", "0.3", "--socket", service.path)
    code, _, err = command(*words)
    assert code == 6 and "hearth jobs" in err


def test_unloading_all_waits_for_those_at_work(service, command):
    code, out, _ = command("unload", "--all", "--socket", service.path)
    assert code == 0 and "5.0 GiB given back" in out
    service.on[messages.Status] = replies(knowing(ENTRIES))
    service.on[messages.EvictModel] = Leaves(0)
    _, out, _ = command("unload", "--all", "--wait", "--socket", service.path)
    assert "6.0 GiB given back (another, ember)" in out
    (evicted,) = service.peer.messages_of(messages.EvictModel)
    assert evicted.model == "m1", "a pinned one stays"
    assert command("unload", "--socket", service.path)[0] == 2
    assert command("unload", "x", "--all", "--socket", service.path)[0] == 2


def test_evicting_keeps_weights_warm_unless_told_otherwise(service, command):
    service.on[messages.EvictModel] = Leaves(0)
    command("evict", "ember", "--socket", service.path)
    assert service.peer.messages_of(messages.EvictModel)[0].to == "warm"
    command("evict", "ember", "--to", "cold", "--json", "--socket", service.path)
    assert service.peer.messages_of(messages.EvictModel)[0].to == "cold"
