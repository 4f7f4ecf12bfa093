"""Hidden states of the real worker: what is in them, whose memory they are, and how long."""

import gc
import threading

import numpy
import pytest
from service import is_alive, wait_until

import hearth.client
from hearth import errors

torch = pytest.importorskip("torch")
WIDE = "!hidden 1024"  # columns of f32: a result of several pages


def ask(words):
    return [{"role": "user", "content": words}]


def results(client):
    return client.status().results


def test_hidden_states_are_those_of_the_layers_asked_for(client, model):
    offered = client.offer_model(model)
    single = client.encode(offered, ask("hello"), 1, dtype="f32")
    tokens = len(single.prompt_token_ids)
    assert single.hidden.dtype == torch.float32 and single.hidden.shape[0] == tokens
    columns = torch.arange(single.hidden.shape[1]) / 1024
    wanted = torch.tensor(single.prompt_token_ids)[:, None] + columns
    assert torch.equal(single.hidden, 1000 + wanted)
    several = client.encode(offered, ask("hello"), [0, 1], dtype="bf16").hidden
    assert torch.equal(several[1], (1000 + wanted).to(torch.bfloat16))
    assert torch.equal(several[0], wanted.to(torch.bfloat16))


def test_views_count_until_they_are_gone_and_copies_do_not(client, model):
    offered = client.offer_model(model)
    before = results(client)
    copied = client.encode(offered, ask(WIDE), [0, 1]).hidden
    assert results(client) == before
    views = client.encode(offered, ask(WIDE), [0, 1], copy=False).hidden
    assert results(client) == before + 2
    assert all(map(torch.equal, copied, views))
    rows = views[0][1:]
    views.clear()
    assert results(client) == before + 1
    del rows
    assert results(client) == before


def test_what_was_written_into_views_is_never_seen_in_later_results(client, model):
    offered = client.offer_model(model)
    truth = client.encode(offered, ask(WIDE)).hidden
    for turn in range(8):
        view = client.encode(offered, ask(WIDE), copy=turn % 2 == 0).hidden
        assert torch.equal(view, truth)
        view.fill_(float("nan"))
        del view


def test_views_stay_readable_when_the_daemon_is_killed(start_daemon, model):
    daemon = start_daemon()
    client = daemon.connect()
    offered = client.offer_model(model)
    truth = client.encode(offered, ask(WIDE)).hidden
    view = client.encode(offered, ask(WIDE), copy=False).hidden
    worker = client.status().worker_pid
    daemon.kill()
    wait_until(lambda: not is_alive(worker), 10, "the worker's end")
    with pytest.raises(errors.NotReachable):
        client.ping()
    del client
    gc.collect()
    assert torch.equal(view, truth)
    view += 1
    daemon.start()
    with daemon.connect() as again:
        del view
        assert torch.equal(again.encode(again.offer_model(model), ask(WIDE)).hidden, truth)
        assert results(again) == 0


def test_many_threads_encode_and_let_go_at_random(daemon, model):
    failures = []

    def use(number):
        rng = numpy.random.default_rng(number)
        try:
            with daemon.connect() as client:
                offered = client.offer_model(model)
                truth = client.encode(offered, ask(WIDE)).hidden
                kept = []
                for _ in range(30):
                    hidden = client.encode(offered, ask(WIDE), copy=rng.random() < 0.3).hidden
                    kept.append(hidden)
                    if len(kept) > 4:
                        assert torch.equal(kept.pop(rng.integers(5)), truth)
                kept.clear()
                del hidden
                client.ping()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    with hearth.client.connect(daemon.socket) as client:
        wait_until(lambda: results(client) == 0, 10, "giving back")
