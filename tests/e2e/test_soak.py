"""A mixed load with all that disturbs it: for some seconds always, for half an hour on demand.

python tests/e2e/soak.py runs it for any time and prints its report.
"""

import json
import random

import pytest
from soak import WEIGHTS, problems_of, soak


@pytest.mark.watchdog(2400)
@pytest.mark.parametrize("minutes", [0.15, pytest.param(30, marks=pytest.mark.extended)])
def test_a_mixed_load_sees_no_error_and_leaves_nothing_behind(start_daemon, tmp_path, minutes):
    daemon = start_daemon("--restart-budget", "0", "--model", f"ember={WEIGHTS}")
    report = soak(daemon, tmp_path, minutes, random.randrange(2**31))
    print(json.dumps(report))
    assert report["engine_kills"] > 0
    assert problems_of(report, judges_growth=minutes >= 5) == []
    assert daemon.stop() == 0
