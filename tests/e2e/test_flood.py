"""Sixteen clients that send what makes no sense, beside one that works."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile import Peer
from ledger import balanced

PER_SECOND = 4000
SOON_PER_SECOND = 8000  # for a million, in two minutes each
MESSAGES = int(os.environ.get("HEARTH_FLOOD", "20000"))
SHORT_MS = 20.0  # while the machine does other things, less than this says nothing
PROMISED = 2.0  # times the p99 beside the same clients sending pings
MIB = 1 << 20


def flood(daemon, kind, n_messages, per_second):
    """Latencies in ms of a good client's pings during a flood, and what the flooders counted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    program = Path(__file__).with_name("flood.py")
    command = [sys.executable, program, daemon.socket, kind, n_messages, per_second]
    latencies = []
    with daemon.connect() as good:
        with subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, env=environment, text=True
        ) as flooding:
            while flooding.poll() is None:
                latencies.append(good.ping())
                time.sleep(0.001)
            counted = flooding.stdout.read()
        assert flooding.returncode == 0
    sent, took, reconnects = counted.split()
    return sorted(latencies), int(sent), float(took), int(reconnects)


@pytest.mark.fault(8)
@pytest.mark.watchdog(3600)
@pytest.mark.parametrize(
    "n_messages, per_second, times_slower, short_ms",
    [
        (MESSAGES, PER_SECOND, 10 * PROMISED, SHORT_MS),
        pytest.param(1_000_000, SOON_PER_SECOND, PROMISED, 0.0, marks=pytest.mark.extended),
    ],
)
def test_a_flood_of_malformed_messages_costs_a_good_client_little(
    daemon, resident, n_messages, per_second, times_slower, short_ms
):
    p99_ms = {}
    for kind in ("pings", "malformed"):
        with balanced(daemon):
            latencies, sent, took, reconnects = flood(daemon, kind, n_messages, per_second)
        p50_ms, p99_ms[kind] = (latencies[int(share * len(latencies))] for share in (0.5, 0.99))
        print(
            f"{kind}: {sent} in {took} s, {sent / took:.0f}/s, {reconnects} reconnects; "
            f"{len(latencies)} pings of the good client, p50 {p50_ms:.3f} ms, "
            f"p99 {p99_ms[kind]:.3f} ms, longest {latencies[-1]:.1f} ms"
        )
        assert sent == n_messages
        assert reconnects == 0 if kind == "pings" else reconnects > n_messages / 100
    print(f"p99 is {p99_ms['malformed'] / p99_ms['pings']:.2f} times as long")
    assert p99_ms["malformed"] <= max(times_slower * p99_ms["pings"], short_ms)


def test_sixteen_idle_clients_cost_the_broker_under_30_mb(daemon, ledger):
    peers = [Peer(daemon.socket) for _ in range(16)]
    for peer in peers:
        peer.arena(MIB)
    with daemon.connect() as client:
        status = client.status()
    for peer in peers:
        peer.close()
    print(f"{status.rss_bytes / 1e6:.1f} MB with {len(status.clients)} clients")
    assert len(status.clients) == 17
    assert 1e6 < status.rss_bytes <= 30e6
