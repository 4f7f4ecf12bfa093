"""The fault table: what can go wrong at the border, and the tests that prove it does no harm.

A row names test files (or single tests, FILE::NAME) below the repository. A file of this folder
proves a row with tests marked `fault(row)`; a C++ test is named SUITE.NAME. test_faults.py checks
that all of it exists. Rows 25 and 26 need a GPU and a day.
"""

from typing import NamedTuple

WIRE = "tests/e2e/test_faults_wire.py"
FLOW = "tests/e2e/test_faults_flow.py"
ARENAS = "tests/e2e/test_faults_arenas.py"
RESULTS = "tests/e2e/test_faults_results.py"
LIMITS = "tests/e2e/test_faults_limits.py"
DEATHS = "tests/e2e/test_faults_deaths.py"
KILLED = "tests/e2e/test_deaths.py"


class Row(NamedTuple):
    sentence: str
    proofs: tuple[str, ...]


ROWS = {
    1: Row(
        "A client killed at any moment leaves no byte, no descriptor and no open request.",
        ("tests/e2e/test_kills.py", f"{KILLED}::test_a_killed_client_leaves_nothing"),
    ),
    2: Row(
        "When the daemon is killed, calls fail within a second and views stay readable.",
        (RESULTS, f"{KILLED}::test_a_killed_daemon_ends_requests_and_its_worker"),
    ),
    3: Row(
        "A forked child that holds the socket does not keep its dead parent's things.",
        (
            DEATHS,
            f"{KILLED}::test_a_killed_client_is_noticed_although_its_child_holds_the_socket",
        ),
    ),
    4: Row("A stopped client holds nobody up.", (DEATHS,)),
    5: Row("A client that never reads costs 4 MiB and is left.", (FLOW,)),
    6: Row("Frames are whole however they are cut, or given up in time.", (WIRE,)),
    7: Row(
        "A lying header ends the connection; nothing is allocated, no descriptor kept.", (WIRE,)
    ),
    8: Row(
        "A msgpack bomb is an error of its request and takes no memory.",
        (WIRE, "tests/e2e/test_flood.py", "tests/unit/shm_hostile_body_test.cpp"),
    ),
    9: Row(
        "No false descriptor of a tensor is believed.",
        (ARENAS, "tests/unit/shm_tensor_test.cpp::Descriptor.EachRuleIsChecked"),
    ),
    10: Row("A picture that changes while it is read is a wrong picture at worst.", (ARENAS,)),
    11: Row(
        "A client cannot write, resize or reseal what it may only read.",
        (
            ARENAS,
            RESULTS,
            "tests/unit/shm_segment_test.cpp::Segment.NobodyCanChangeItsSizeOrItsSeals",
            "tests/unit/shm_seals_test.cpp",
        ),
    ),
    12: Row("A hole punched into a picture is black, not a signal.", (ARENAS,)),
    13: Row(
        "Memory that cannot be had is an error of its request.",
        (LIMITS, "tests/unit/shm_segment_test.cpp::Segment.RefusesWhatCannotFitIntoMemory"),
    ),
    14: Row("Without descriptors clients wait, and are served when there are some.", (LIMITS,)),
    15: Row(
        "Memory over a quota is refused or waits, and is there again after a release.",
        (ARENAS, RESULTS, "tests/unit/broker_arenas_test.cpp"),
    ),
    16: Row(
        "What is given back twice, or by another, is an error; an id in use ends the connection.",
        (ARENAS, RESULTS, FLOW),
    ),
    17: Row("A request that is cancelled, at any time and twice, ends once.", (FLOW,)),
    18: Row(
        "A second daemon says who is first; a stale socket is replaced, anything else is not.",
        (LIMITS, "tests/unit/broker_system_test.cpp::ListenerTest.OneDaemonServesAPath"),
    ),
    19: Row("Another user is refused and told whom to ask.", (LIMITS,)),
    20: Row("Fifty clients come back to a restarted daemon; no request is sent twice.", (DEATHS,)),
    21: Row("Older and newer versions agree or say which they are.", (FLOW,)),
    22: Row("Answers in any order find their requests.", (FLOW,)),
    23: Row("Nothing needs room in /dev/shm.", (LIMITS,)),
    24: Row(
        "Memory that cannot be pinned works unpinned.",
        ("tests/unit/worker_pinning_test.cpp",),
    ),
    27: Row("A view outlives its client and is released with its last reference.", (RESULTS,)),
}
