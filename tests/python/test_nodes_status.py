"""The text of the Status node."""

from __future__ import annotations

import asyncio

import pytest

from hearth import errors, messages
from hearth.nodes import status

REPORT = messages.StatusReport(
    server="hearthd 0.1.0",
    boot_id="b",
    uptime_ms=3_723_000,
    worker_state="ready",
    worker_pid=77,
    worker_restarts=2,
    devices=[messages.Device(kind="cpu", name="A CPU", memory_bytes=24 << 30, threads=2)],
    slots=4,
    running=1,
    queued=3,
    served=10,
    failed=5,
    arenas=2,
    arena_bytes=128 << 20,
    rss_bytes=9 << 20,
    models=[
        messages.ModelEntry(
            model="0011223344556677",
            name="ember",
            family="qwen3_vl",
            dtype="float32",
            state="hot",
            resident_bytes=1536,
            loads=1,
            holders=2,
        )
    ],
    clients=[
        messages.ClientEntry(connection=1, client="main.py", pid=9, open_requests=1, arena_bytes=0)
    ],
)


def test_the_report_reads_as_a_table() -> None:
    assert status.report(REPORT).splitlines() == [
        "hearthd 0.1.0, up 1 h 2 min",
        "engine    ready, process 77, restarted 2 times",
        "device    A CPU",
        "          cpu, 24.0 GiB, 2 threads, bandwidth not known",
        "requests  1 running, 3 waiting, 10 answered, 5 failed (4 at once)",
        "memory    service 9.0 MiB, 2 shared areas of 128 MiB in all",
        "",
        "model  family    type     state  memory   loads  holders",
        "ember  qwen3_vl  float32  hot    1.5 KiB  1      2",
        "",
        "client   process  requests  shared",
        "main.py  9        1         0 B",
    ]


def test_memory_of_models_and_caches_are_shown_where_they_are_known() -> None:
    full = messages.StatusReport.from_fields(
        {
            **REPORT.to_fields(),
            "memory_bytes": 6 << 30,
            "memory_budget_bytes": 18 << 30,
            "caches": [
                {"name": "result", "entries": 3, "bytes": 2048, "hits": 5, "misses": 1},
                {"model": "0011223344556677", "name": "prefix", "entries": 7, "hits": 2},
            ],
        }
    )
    lines = status.report(full).splitlines()
    assert "models    6.0 GiB of 18.0 GiB" in lines
    at = lines.index("cache of  kind    entries  memory   hits  misses")
    assert lines[at + 1 : at + 3] == [
        "service   result  3        2.0 KiB  5     1",
        "ember     prefix  7        0 B      2     0",
    ]


def test_an_empty_service_has_no_tables() -> None:
    idle = messages.StatusReport(
        server="hearthd", boot_id="b", uptime_ms=65_000, worker_state="failed"
    )
    lines = status.report(idle).splitlines()
    assert lines[:2] == ["hearthd, up 1 min 5 s", "engine    failed"]
    assert len(lines) == 4


class _Fails:
    """A connection whose first use fails."""

    def __init__(self, error: errors.HearthError) -> None:
        self._error = error

    async def __aenter__(self) -> None:
        raise self._error

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "error, says_unreachable",
    [
        (errors.NotReachable("No hearth service answers at /x."), True),
        (errors.Version("The service speaks protocol 7 to 9."), False),
        (errors.Busy("64 requests are open."), False),
    ],
)
def test_only_a_service_that_is_not_there_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, error: errors.HearthError, says_unreachable: bool
) -> None:
    monkeypatch.setattr(status, "connected", lambda: _Fails(error))
    shown: list[str] = []
    monkeypatch.setattr(status, "show", shown.append)
    asyncio.run(status.run())
    assert ("hearth does not answer" in shown[0]) is says_unreachable
    assert str(error) in shown[0]
