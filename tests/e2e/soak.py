"""The service under a long mixed load: what it answers, and what it comes to need.

    HEARTH_BIN=build/release/bin python tests/e2e/soak.py --minutes 30

Eight clients do at random what clients do with ember (soak_client.py), others are killed at random
moments (kill_storm.py), the engine is killed, the configuration read again. Prints a report; exit
code 1 when an answer was wrong or a client saw an error, when memory or descriptors grow, or when
the service does not end cleanly.

Growth is the Theil-Sen slope (median of all pairs' slopes) of one sample a second: of the broker
over the whole run but its first tenth, of the engine over the second half, in which nobody kills
it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service import Daemon, is_alive

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[1] / "models/ember/weights"
CLIENTS = 8
MOST_GROWTH_BYTES_PER_HOUR = 1 << 20
ENGINE_KILL_PAUSE_S = 240.0  # the service gives an engine up that dies more than three in 10 min
STORM_PAUSE_S = 5.0
RELOAD_PAUSE_S = 7.0


def rss_bytes(pid):
    """Resident memory of the process that is its own: shared memory is its clients'."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def growth_per_hour(samples):
    """Of (seconds, value) pairs; at most 300 of them are compared with each other."""
    chosen = samples[:: max(1, len(samples) // 300)]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, earlier in enumerate(chosen)
        for later in chosen[number + 1 :]
    ]
    return 3600 * statistics.median(slopes) if slopes else 0.0


class Soak:
    """One run. `report` holds what came of it."""

    def __init__(self, daemon, folder, minutes, seed):
        self.daemon, self.seconds = daemon, minutes * 60
        self.copy, self.fake = folder / "copy", folder / "fake"
        shutil.copytree(WEIGHTS, self.copy)
        self.fake.mkdir()
        (self.fake / "config.json").write_text(json.dumps({"model_type": "hearth_fake"}))
        self.seed, self.rng = seed, random.Random(seed)
        self.broker, self.engine = [], []  # (seconds, memory bytes, descriptors)
        self.engine_kills = self.storms = self.reloads = 0

    def run(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        clients = [self._start(environment, number) for number in range(CLIENTS)]
        try:
            self._disturb(environment)
        finally:
            said = [self._end(client) for client in clients]
        return self._report(said)

    def _start(self, environment, number):
        words = [sys.executable, HERE / "soak_client.py", self.daemon.socket, self.copy]
        return subprocess.Popen(
            list(map(str, [*words, self.seed + number])),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def _end(self, client):
        out, _ = client.communicate("end\n", timeout=120)
        return json.loads(out) if out else {"done": {}, "errors": [f"exit {client.returncode}"]}

    def _disturb(self, environment):
        began = time.monotonic()
        kill_at = min(ENGINE_KILL_PAUSE_S, self.seconds / 4)
        storm_at = reload_at = 1.0
        with self.daemon.connect() as watcher:
            while (passed := time.monotonic() - began) < self.seconds:
                self._sample(watcher, passed)
                if passed >= kill_at and kill_at < self.seconds / 2:
                    self._kill_engine(watcher)
                    kill_at += ENGINE_KILL_PAUSE_S
                if passed >= storm_at:
                    self._storm(environment)
                    storm_at = passed + STORM_PAUSE_S
                if passed >= reload_at:
                    os.kill(self.daemon.process.pid, signal.SIGHUP)
                    self.reloads += 1
                    reload_at = passed + RELOAD_PAUSE_S
                time.sleep(max(0.0, 1.0 - (time.monotonic() - began - passed)))

    def _sample(self, watcher, passed):
        pid = self.daemon.process.pid
        self.broker.append((passed, rss_bytes(pid), descriptors(pid)))
        engine = watcher.status().worker_pid
        if engine and passed >= self.seconds / 2 and is_alive(engine):
            self.engine.append((passed, rss_bytes(engine), descriptors(engine)))

    def _kill_engine(self, watcher):
        engine = watcher.status().worker_pid
        if engine:
            os.kill(engine, signal.SIGKILL)
            self.engine_kills += 1

    def _storm(self, environment):
        words = [HERE / "kill_storm.py", self.daemon.socket, self.fake, 4, self.rng.getrandbits(32)]
        subprocess.run(
            list(map(str, [sys.executable, *words])),
            env=environment, capture_output=True, check=True, timeout=120,
        )  # fmt: skip
        self.storms += 4

    def _report(self, said):
        done = {}
        for one in said:
            for deed, times in one["done"].items():
                done[deed] = done.get(deed, 0) + times
        settled = [s for s in self.broker if s[0] >= self.seconds / 10]
        of = {"broker": settled, "engine": self.engine}
        report = {
            "minutes": self.seconds / 60, "seed": self.seed, "clients": CLIENTS, "done": done,
            "errors": [error for one in said for error in one["errors"]],
            "engine_kills": self.engine_kills, "client_kills": self.storms,
            "reloads": self.reloads,
        }  # fmt: skip
        for name, samples in of.items():
            memory = [(at, rss) for at, rss, _ in samples]
            files = [(at, number) for at, _, number in samples]
            report[name] = {
                "memory_mib": [round(memory[i][1] / 2**20, 1) for i in (0, -1)] if memory else [],
                "growth_mib_per_hour": round(growth_per_hour(memory) / 2**20, 2),
                "descriptors": [files[i][1] for i in (0, -1)] if files else [],
                "descriptors_per_hour": round(growth_per_hour(files), 1),
            }
        return report


def problems_of(report, judges_growth):
    """What is not as it must be. Growth needs a run of some length to be known."""
    found = list(report["errors"])
    if not report["done"].get("describe"):
        found.append("nothing was described")
    if judges_growth:
        for name in ("broker", "engine"):
            growth = report[name]["growth_mib_per_hour"] * 2**20
            if growth > MOST_GROWTH_BYTES_PER_HOUR:
                found.append(f"the {name} grows by {growth / 2**20:.2f} MiB an hour")
            if abs(report[name]["descriptors_per_hour"]) > 1:
                found.append(f"the {name} comes to hold more descriptors, or fewer")
    return found


def soak(daemon, folder, minutes, seed):
    """Runs it against a daemon that publishes ember, with room for files in `folder`."""
    return Soak(daemon, Path(folder), minutes, seed).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hearth-soak-") as folder:
        daemon = Daemon(folder, "--restart-budget", "0", "--model", f"ember={WEIGHTS}").start()
        try:
            report = soak(daemon, folder, options.minutes, options.seed)
        finally:
            code = daemon.stop()
        problems = problems_of(report, judges_growth=options.minutes >= 5)
        if code != 0:
            problems.append(f"hearthd ended with {code}")
        print(json.dumps(report, indent=1))
        print("\n".join(problems) or "nothing to complain about")
        if problems:
            print(daemon.log_tail(), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
