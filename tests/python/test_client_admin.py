"""The calls that look after a service."""

import asyncio

import pytest

import hearth.aio
import hearth.client
from hearth import errors, messages
from server import fails, replies

DONE = replies(messages.Done(text="it is done"))

# call of the client, the message that it sends
DONE_BY = [
    (lambda c: c.cancel_job(7), messages.CancelJob(job=7)),
    (lambda c: c.kick(3), messages.KickClient(connection=3)),
    (lambda c: c.pin("ember"), messages.PinModel(model="ember", pin=True)),
    (lambda c: c.pin("ember", False), messages.PinModel(model="ember", pin=False)),
    (lambda c: c.drain(1.5, "stop"), messages.Drain(timeout_ms=1500, then="stop")),
    (lambda c: c.drain(), messages.Drain()),
    (lambda c: c.suspend(0.25), messages.Suspend(timeout_ms=250)),
    (lambda c: c.suspend(), messages.Suspend()),
    (lambda c: c.resume(), messages.Resume()),
    (lambda c: c.clear_quarantine(), messages.ClearQuarantine()),
    (lambda c: c.clear_quarantine("ember"), messages.ClearQuarantine(model="ember")),
]


@pytest.mark.parametrize(("call", "message"), DONE_BY)
def test_what_is_done_is_asked_for_in_one_message(client, service, call, message):
    service.on[type(message)] = DONE
    assert call(client) == "it is done"
    assert service.peer.messages_of(type(message)) == [message]


@pytest.mark.parametrize(("call", "message"), DONE_BY)
def test_asyncio_has_the_same_calls(service, call, message):
    async def run():
        async with await hearth.aio.connect(service.path) as client:
            return await call(client)

    service.on[type(message)] = DONE
    assert asyncio.run(run()) == "it is done"
    assert service.peer.messages_of(type(message)) == [message]


def test_jobs_and_what_an_eviction_freed_come_as_the_contract_has_them(client, service):
    job = messages.JobEntry(job=4, kind="generate", state="running")
    freed = messages.MemoryFreed(freed_bytes=5, resident_bytes=0, models=["ember"])
    service.on[messages.ListJobs] = replies(messages.JobList(jobs=[job]))
    service.on[messages.EvictModel] = replies(freed)
    service.on[messages.Metrics] = replies(messages.MetricsText(text="up 1\n"))
    assert client.jobs() == [job]
    assert client.evict("ember", "warm") == freed
    assert service.peer.messages_of(messages.EvictModel)[0].to == "warm"
    assert client.metrics() == "up 1\n"


def test_settings_are_shown_and_read_again(client, service):
    value = messages.ConfigValue(key="server.drain", value='"1s"', takes_effect="live")
    report = messages.ConfigReport(problems=["hearth.toml:1:1: this is not TOML"])
    service.on[messages.ShowConfig] = replies(messages.ConfigList(values=[value]))
    service.on[messages.ReloadConfig] = replies(report)
    assert client.show_config().values == [value]
    assert client.reload_config() == client.reload_config(apply=False) == report
    asked = service.peer.messages_of(messages.ReloadConfig)
    assert [message.apply for message in asked] == [True, False]

    async def both():
        async with await hearth.aio.connect(service.path) as other:
            return await other.show_config(), await other.reload_config()

    assert asyncio.run(both()) == (messages.ConfigList(values=[value]), report)


def test_records_are_read_page_by_page(client, service):
    def page(peer, frame, asked):
        first = asked.before - 1 if asked.before else 700
        records = [
            messages.RequestRecord(request=n, at_ms=n, kind="generate")
            for n in range(first, max(first - asked.limit, 0), -1)
        ]
        reply = messages.RequestList(requests=records, more=records[-1].request > 1)
        peer.send(reply, frame.request_id)

    service.on[messages.ListRequests] = page
    assert [record.request for record in client.requests(300)] == list(range(700, 400, -1))
    assert len(client.requests(2000)) == 700
    assert [record.request for record in client.requests(2, before=10)] == [9, 8]


def test_who_may_not_hears_who_may(client, service):
    service.on[messages.Resume] = fails("denied", "Only administrators may resume.")
    with pytest.raises(errors.Denied, match="administrators") as raised:
        client.resume()
    assert not raised.value.retryable
    assert issubclass(hearth.client.Quarantined, hearth.client.HearthError)


def test_any_request_of_the_contract_can_be_asked(client, service):
    service.on[messages.Resume] = DONE
    assert client.ask(messages.Resume(), messages.Done).text == "it is done"
    with pytest.raises(errors.Internal):
        client.ask(messages.Resume(), messages.JobList)
