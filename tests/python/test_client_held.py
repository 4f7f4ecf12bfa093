"""Pictures that were put: copied once, used often."""

import asyncio
import gc
import threading

import numpy
import pytest

import hearth.aio
import hearth.client
from hearth import errors, messages
from server import silent, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
OTHER = PICTURE[::-1].copy()


def ask(*content):
    return [{"role": "user", "content": ["What is this?", *content]}]


def sent(service):
    """Tensors of each generate request, in order."""
    requests = service.peer.messages_of(messages.Generate)
    return [
        [part.tensor for part in request.messages[0].content if part.tensor] for request in requests
    ]


def written(client):
    """Bytes of shared memory that are taken."""
    arenas = client._connection.arenas._arenas
    free = sum(end - begin for arena in arenas for begin, end in arena.free.ranges)
    return sum(len(arena.memory) - 4096 for arena in arenas) - free


def scribble(service, tensor, value=7):
    """The memory now says something else: a later copy would undo it."""
    import os

    os.pwrite(service.peer.arenas[tensor.arena], bytes([value]) * tensor.nbytes, tensor.offset)


def test_a_picture_that_was_put_is_not_copied_again(client, service):
    held = client.put(PICTURE)
    taken = written(client)
    client.generate("ember", ask(held))
    ((first,),) = sent(service)
    assert service.peer.arena_bytes(first) == PICTURE.tobytes()
    scribble(service, first)
    client.generate("ember", ask(held, "and this?", held))
    assert [tensor for request in sent(service) for tensor in request] == [first] * 3
    assert service.peer.arena_bytes(first) == b"\7" * first.nbytes, "nobody wrote"
    assert written(client) == taken
    assert service.peer.messages_of(messages.Generate)[1].messages[0].content[1].kind == "image"


def test_giving_back_a_use_twice_does_not_take_another_s(client):
    held = client.put(PICTURE)
    uses = [client._connection.held.use(held) for _ in range(2)]
    taken = written(client)
    uses[0].release()
    uses[0].release()
    held.close()
    client.ping()
    assert written(client) == taken, "the second use is not over"
    uses[1].release()
    client._connection.held.collect()
    assert written(client) < taken


def test_equal_pictures_share_their_memory_whatever_they_are_made_of(client, service):
    torch = pytest.importorskip("torch")
    floats = torch.from_numpy(PICTURE.astype("f4") / 255)
    held = [client.put(picture) for picture in (PICTURE, PICTURE.copy(), floats)]
    assert written(client) == 192
    for one in held:
        client.generate("ember", ask(one))
    assert len({str(tensors) for tensors in sent(service)}) == 1


def test_other_pictures_and_shapes_have_their_own_memory(client):
    held = [client.put(p) for p in (PICTURE, OTHER, PICTURE.reshape(6, 8, 3), PICTURE[None])]
    assert written(client) == 192 * 3
    held.append(client.put({"video": PICTURE[None], "fps": 1}))
    assert written(client) == 192 * 4


def test_what_is_closed_or_forgotten_frees_its_memory_at_the_next_call(client):
    first, second, third = client.put(PICTURE), client.put(PICTURE), client.put(OTHER)
    first.close()
    first.close()
    client.ping()
    assert written(client) == 384, "the second one needs it"
    del second
    gc.collect()
    with third:
        client.ping()
        assert written(client) == 192
    client.ping()
    assert written(client) == 0
    with pytest.raises(errors.BadRequest, match="closed"):
        client.generate("ember", ask(third))


def test_memory_of_an_open_request_stays_until_its_end(client, service):
    service.on[messages.Generate] = silent
    held = client.put(PICTURE)
    stream = client.generate("ember", ask(held), stream=True)
    held.close()
    client.ping()
    assert written(client) == 192
    wait_until(lambda: service.peer.ids_of(messages.Generate))
    service.peer.send(messages.InputsDone(), service.peer.ids_of(messages.Generate)[0])
    client.ping()
    assert written(client) == 0
    stream.cancel()


def test_after_a_loss_it_is_written_again_from_its_source(client, service):
    held = client.put(PICTURE)
    service.stop()
    service.start()
    for _ in range(2):
        client.generate("ember", ask(held))
    (first,), (second,) = sent(service)
    assert first == second and service.peer.arena_bytes(first) == PICTURE.tobytes()
    assert written(client) == 192
    held.close()
    client.ping()
    assert written(client) == 0


def test_a_retry_on_another_connection_brings_it_along(client, service):
    def close_once(peer, frame, request):
        service.on.pop(messages.Generate)
        peer.close()

    held = client.put(PICTURE)
    service.on[messages.Generate] = close_once
    assert client.generate("ember", ask(held)).text == "a red circle"
    assert service.peer.arena_bytes(sent(service)[0][0]) == PICTURE.tobytes()


def test_a_source_that_changed_is_refused_when_it_is_needed_again(client, service):
    picture = PICTURE.copy()
    held = client.put(picture)
    picture[0, 0] = 0
    picture[0, 0, 1] = 99
    client.generate("ember", ask(held))
    assert service.peer.arena_bytes(sent(service)[0][0]) == PICTURE.tobytes()
    service.stop()
    service.start()
    with pytest.raises(errors.BadPicture, match="changed after it was put"):
        client.generate("ember", ask(held))
    assert written(client) == 0


def test_one_picture_serves_several_clients(service):
    with hearth.client.connect(service.path) as one, hearth.client.connect(service.path) as other:
        held = one.put(PICTURE)
        other.generate("ember", ask(held))
        assert (written(one), written(other)) == (192, 192)
        held.close()
        one.ping()
        assert (written(one), written(other)) == (0, 192)
        other.ping()
        assert written(other) == 0


def test_batches_and_videos_can_be_put(client, service):
    batch = client.put(numpy.stack([PICTURE, OTHER]))
    video = client.put({"video": numpy.stack([PICTURE] * 9), "fps": 8.0, "frames": 3})
    client.generate("ember", ask(batch, video, PICTURE))
    shapes = [tensor.shape for tensor in sent(service)[0]]
    assert shapes == [[8, 6, 3], [8, 6, 3], [3, 8, 6, 3], [8, 6, 3]]
    assert service.peer.arena_bytes(sent(service)[0][1]) == OTHER.tobytes()


def test_put_refuses_what_is_no_picture(client):
    with pytest.raises(errors.BadRequest, match="picture is a str"):
        client.put("x")
    with pytest.raises(errors.BadPicture, match="NaN"):
        client.put(numpy.full((4, 4, 3), numpy.nan, "f4"))
    assert written(client) == 0


def test_pictures_are_forgotten_from_any_thread(client):
    held = [client.put(numpy.full((8, 8, 3), n, "u1")) for n in range(20)]
    boxes = [[one] for one in held]
    del held
    threads = [threading.Thread(target=box.clear) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    client.ping()
    assert written(client) == 0


def test_tasks_that_put_one_picture_at_once_share_it(service):
    async def main():
        async with await hearth.aio.connect(service.path) as client:
            held = await asyncio.gather(*(client.put(PICTURE) for _ in range(5)))
            assert written(client) == 192
            await asyncio.gather(*(client.generate("ember", ask(one)) for one in held))
            assert written(client) == 192

    asyncio.run(main())
    assert len({str(tensors) for tensors in sent(service)}) == 1


def test_a_picture_closed_before_its_request_is_sent_leaves_nothing_behind(service):
    async def main():
        async with await hearth.aio.connect(service.path) as client:
            held = await client.put(PICTURE)
            stream = client.stream("ember", ask(held))
            held.close()
            await client.ping()
            assert written(client) == 0
            assert [piece async for piece in stream] == ["a red ", "circle"]
            ((late,),) = sent(service)
            assert service.peer.arena_bytes(late) == PICTURE.tobytes()
            await client.ping()
            assert written(client) == 0
            again = await client.put(PICTURE)
            await client.generate("ember", ask(OTHER, again))
            other, one = sent(service)[-1]
            assert service.peer.arena_bytes(other) == OTHER.tobytes()
            assert service.peer.arena_bytes(one) == PICTURE.tobytes()

    asyncio.run(main())
