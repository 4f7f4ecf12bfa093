"""Who never reads, speaks another version, asks much at once or takes it back: rows about order."""

import threading
import time

import msgpack
import pytest
from hostile import Peer, chat, frame
from process import rss_bytes
from service import wait_until

from hearth import messages

NOT_READ_BYTES = 4 << 20  # what the service keeps for one who does not read
PACE = 20  # requests between two looks at a peer that is going to lose


# --- who does not read ---


@pytest.mark.fault(5)
@pytest.mark.watchdog(90)
def test_a_client_that_never_reads_is_left_and_others_do_not_notice(daemon, ledger):
    """The service keeps 4 MiB for it, then stops reading from it, then waits 10 s for progress."""
    pid = daemon.process.pid
    with Peer(daemon.socket) as peer, daemon.connect() as beside:
        rss = rss_bytes(pid)
        most = 0
        requests = frame(messages.Status.TYPE) * PACE
        peer.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            while True:  # until the socket is full, for nobody reads the other end either
                peer.send_bytes(requests)
                most = max(most, rss_bytes(pid))
        slowest_ms = 0.0
        began = time.monotonic()
        while len(beside.status().clients) > 1:
            slowest_ms = max(slowest_ms, beside.ping())
            most = max(most, rss_bytes(pid))
            assert time.monotonic() - began < 60, "it is still there"
        print(f"left after {time.monotonic() - began:.1f} s, slowest ping {slowest_ms:.1f} ms")
        assert time.monotonic() - began > 5, "a pause is no reason to be left"
        assert slowest_ms < 1000
        assert most - rss < 4 * NOT_READ_BYTES


@pytest.mark.fault(5)
def test_a_client_that_reads_late_gets_every_answer(daemon, ledger):
    n_requests = 20_000
    with Peer(daemon.socket) as peer:

        def write():
            for request_id in range(1, n_requests + 1):
                peer.send_bytes(frame(messages.ListModels.TYPE, request_id=request_id))

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.5)
        got = [peer.receive()[0] for _ in range(n_requests)]
        writer.join()
    assert got == list(range(1, n_requests + 1))


# --- versions ---


@pytest.mark.fault(21)
def test_an_older_service_takes_what_it_knows_of_a_newer_client(daemon, ledger):
    with Peer(daemon.socket, greet=False) as peer:
        welcome = peer.greet(newest=messages.PROTOCOL_VERSION + 7)
        assert welcome.version == messages.PROTOCOL_VERSION
        assert peer.is_served()
    with Peer(daemon.socket, greet=False) as peer:
        hello = {"oldest": 1, "newest": 9, "dreams": {"of": ["future", 1.5, False]}}
        peer.send_bytes(frame(messages.Hello.TYPE, msgpack.packb(hello), 0))
        assert isinstance(peer.answer(0), messages.Welcome)


@pytest.mark.fault(21)
@pytest.mark.parametrize("oldest, newest", [(0, 0), (50, 60), (9, 2)])
def test_versions_without_a_common_one_are_both_named(daemon, ledger, oldest, newest):
    with Peer(daemon.socket, greet=False) as peer:
        peer.send(messages.Hello(oldest=oldest, newest=newest), 0)
        error = peer.farewell()
        assert error.code == "version"
        assert f"{oldest} to {newest}" in error.what
        ours = f"{messages.OLDEST_PROTOCOL_VERSION} to {messages.PROTOCOL_VERSION}"
        assert ours in error.what


# --- many at once ---


def ask_for(model, words):
    return messages.Generate(model=model, messages=chat(words), temperature=0.0, max_tokens=2000)


@pytest.mark.fault(22)
def test_eight_answers_that_come_in_reverse_are_matched(start_daemon, model):
    daemon = start_daemon("--slots", "8")
    with Peer(daemon.socket) as peer:
        offered = peer.offer(model)
        counts = range(80, 0, -10)  # the first asked takes longest
        asked = [peer.send(ask_for(offered, f"!wait 3 !count {count}")) for count in counts]
        arrived = {}
        while len(arrived) < len(asked):
            request_id, message = peer.receive()
            if message.KIND == "reply":
                assert request_id not in arrived, "ended twice"
                arrived[request_id] = message.text
        assert list(arrived) == asked[::-1]
        for request_id, count in zip(asked, counts, strict=True):
            assert arrived[request_id] == " ".join(map(str, range(1, count + 1)))


@pytest.mark.fault(22)
def test_eight_open_requests_of_each_of_four_threads_are_matched(daemon, ledger, resident):
    replies = []

    def use(place):
        with Peer(daemon.socket) as peer:
            offered = peer.offer(resident)
            words = [f"thread {place} request {number}" for number in range(8)]
            asked = [peer.send(ask_for(offered, text)) for text in words]
            replies.extend(
                (text, peer.answer(request_id).text)
                for request_id, text in reversed(list(zip(asked, words, strict=True)))
            )

    threads = [threading.Thread(target=use, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 32
    assert all(asked == answered for asked, answered in replies)


# --- taking it back ---


STATES = {
    "queued": ("!count 3", "!wait 20 !count 2000"),
    "in preparation": ("!wait prepare 60000", None),
    "decoding": ("!wait 10 !count 2000", None),
}


@pytest.mark.fault(17)
@pytest.mark.parametrize("state", STATES)
def test_a_request_that_is_cancelled_twice_ends_once(daemon, ledger, resident, state):
    words, before_it = STATES[state]
    with Peer(daemon.socket) as peer, daemon.connect() as beside:
        offered = peer.offer(resident)
        slots = beside.status().slots
        first = [peer.send(ask_for(offered, before_it)) for _ in range(slots if before_it else 0)]
        asked = peer.send(ask_for(offered, words))
        wait_until(lambda: beside.status().running == (len(first) or 1))
        if state == "decoding":
            while not peer.events:
                which, message = peer.receive()
                peer.events.append((which, message))
        began = time.monotonic()
        for _ in range(2):
            peer.send(messages.Cancel(), asked)
        assert peer.answer(asked).code == "cancelled"
        assert time.monotonic() - began < 5
        for request_id in first:
            peer.send(messages.Cancel(), request_id)
            assert peer.answer(request_id).code == "cancelled"
        assert peer.is_served() and not peer.ended


@pytest.mark.fault(17)
def test_a_request_cancelled_with_its_own_frame_ends_once(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        ended = []
        for _ in range(100):
            request_id = peer.send(ask_for(offered, "hello"))
            peer.send(messages.Cancel(), request_id)
            ended.append(peer.answer(request_id))
        for message in ended:
            assert isinstance(message, messages.Generated) or message.code == "cancelled"
        assert peer.is_served() and not peer.ended


@pytest.mark.fault(17)
def test_cancel_of_what_has_ended_or_never_was_is_nothing(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        request_id = peer.send(ask_for(offered, "hello"))
        assert peer.answer(request_id).text == "hello"
        for nobody in (request_id, 0, 77_777, 0xFFFFFFFF):
            peer.send(messages.Cancel(), nobody)
        assert peer.is_served() and not peer.ended, "no second end"


@pytest.mark.fault(16)
def test_an_id_in_use_ends_the_connection_and_the_request_only_once(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        request_id = peer.send(ask_for(offered, "!wait 10 !count 2000"))
        peer.send(messages.ListModels(), request_id)
        error = peer.farewell()
        assert error.code == "bad_request" and str(request_id) in error.what
        assert request_id not in peer.ended


@pytest.mark.fault(16)
def test_an_id_whose_request_has_ended_may_be_used_again(daemon, ledger, resident):
    with Peer(daemon.socket) as peer:
        offered = peer.offer(resident)
        for words in ("one", "two", "three"):
            assert peer.answer(peer.send(ask_for(offered, words), 5)).text == words
