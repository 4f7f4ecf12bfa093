"""What generate() sends, and what becomes of the answer."""

import numpy
import pytest

import server as fake
from hearth import errors, messages, wire
from server import generated, silent, token, wait_until

PICTURE = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
CHAT = [{"role": "user", "content": ["What is this?", PICTURE]}]
TEXT = [{"role": "user", "content": "Hello"}]


def test_a_picture_and_a_question_get_an_answer(client, service):
    reply = client.generate("ember", CHAT, max_tokens=5, temperature=0, stop="END")
    assert reply.text == "a red circle"
    assert (reply.token_ids, reply.prompt_token_ids) == ([5, 6], [1, 2, 3])
    assert reply.stop_reason == "end_token" and reply.receipt.total_ms == 1.0
    (request,) = service.peer.messages_of(messages.Generate)
    assert (request.model, request.max_tokens, request.stop) == ("ember", 5, ["END"])
    assert request.temperature == 0.0 and isinstance(request.temperature, float)
    text, picture = request.messages[0].content
    assert (text.kind, text.text, picture.kind) == ("text", "What is this?", "image")
    assert picture.tensor.shape == [8, 6, 3] and picture.tensor.dtype == "u8"
    assert service.peer.arena_bytes(picture.tensor) == PICTURE.tobytes()


def test_a_batch_becomes_pictures_that_share_a_slot(client, service):
    batch = numpy.random.default_rng(1).random((3, 5, 7, 3)).astype("f4")
    client.generate("ember", [{"role": "user", "content": ["Compare.", batch, PICTURE]}])
    (request,) = service.peer.messages_of(messages.Generate)
    tensors = [part.tensor for part in request.messages[0].content[1:]]
    assert [tensor.shape for tensor in tensors] == [[5, 7, 3]] * 3 + [[8, 6, 3]]
    assert [tensor.offset - tensors[0].offset for tensor in tensors] == [0, 128, 256, 384]
    for tensor, picture in zip(tensors, batch, strict=False):
        wanted = numpy.rint(picture * 255).astype("u1").tobytes()
        assert service.peer.arena_bytes(tensor) == wanted
    assert service.peer.arena_bytes(tensors[3]) == PICTURE.tobytes()


def test_a_video_is_sent_with_its_speed(client, service):
    video = numpy.zeros((4, 8, 8, 3), "u1")
    client.generate("m", [{"role": "user", "content": [{"video": video, "fps": 12.5}]}])
    part = service.peer.messages_of(messages.Generate)[0].messages[0].content[0]
    assert (part.kind, part.fps, part.tensor.shape) == ("video", 12.5, [4, 8, 8, 3])


@pytest.mark.parametrize(
    ("count", "frames", "fps"),
    [(128, 16, 24.0), (9, 3, 8.0), (10, 4, 30.0), (7, 6, 12.0), (5, 1, 10.0), (100, 99, 25.0)],
)
@pytest.mark.parametrize("package", ["torch", "numpy"])
def test_a_video_is_sampled_before_it_is_sent(client, service, count, frames, fps, package):
    video = numpy.arange(count, dtype="u1")[:, None, None, None].repeat(4, 1).repeat(4, 2)
    video = video.repeat(3, 3)
    indices = numpy.linspace(0, count - 1, frames).round().astype(int)
    wanted = video[indices]
    if package == "torch":
        video = pytest.importorskip("torch").from_numpy(video)
    client.generate(
        "m", [{"role": "user", "content": [{"video": video, "fps": fps, "frames": frames}]}]
    )
    part = service.peer.messages_of(messages.Generate)[0].messages[0].content[0]
    assert part.tensor.shape == [frames, 4, 4, 3]
    assert service.peer.arena_bytes(part.tensor) == wanted.tobytes()
    assert part.fps == fps and part.frame_indices == indices.tolist()


@pytest.mark.parametrize("frames", [5, 6])
def test_a_video_with_few_frames_is_sent_whole(client, service, frames):
    video = numpy.zeros((5, 4, 4, 3), "u1")
    client.generate(
        "m", [{"role": "user", "content": [{"video": video, "fps": 9, "frames": frames}]}]
    )
    part = service.peer.messages_of(messages.Generate)[0].messages[0].content[0]
    assert part.tensor.shape == [5, 4, 4, 3] and part.fps == 9.0


@pytest.mark.parametrize("frames", [0, -3, 2.5, "all"])
def test_a_number_of_frames_that_is_none_is_refused(client, frames):
    video = {"video": numpy.zeros((5, 4, 4, 3), "u1"), "fps": 1, "frames": frames}
    with pytest.raises(errors.BadRequest, match="frames is"):
        client.generate("m", [{"role": "user", "content": [video]}])


def test_a_priority_is_sent_and_a_wrong_one_refused(client, service):
    client.generate("ember", TEXT, priority="batch")
    client.generate("ember", TEXT)
    found = [request.priority for request in service.peer.messages_of(messages.Generate)]
    assert found == ["batch", "interactive"]
    with pytest.raises(errors.BadRequest, match="use one of interactive, batch, maintenance"):
        client.generate("ember", TEXT, priority="urgent")


def test_a_stream_gives_the_pieces_and_then_the_reply(client):
    stream = client.generate("ember", CHAT, stream=True)
    assert list(stream) == ["a red ", "circle"]
    assert stream.text == stream.reply.text == "a red circle"
    assert list(stream) == []


def test_a_reply_can_be_had_without_reading_the_stream(client):
    assert client.generate("ember", CHAT, stream=True).reply.text == "a red circle"


def test_pieces_arrive_while_the_request_is_open(client, service):
    service.on[messages.Generate] = lambda peer, frame, _: peer.send(token("a"), frame.request_id)
    stream = client.generate("ember", TEXT, stream=True)
    assert next(stream) == "a"
    service.peer.send(token(""), 1)
    service.peer.send(token("b"), 1)
    assert next(stream) == "b"
    service.peer.send(generated("ab"), 1)
    assert list(stream) == []


def test_two_streams_are_read_by_turns(client, service):
    service.on[messages.Generate] = silent
    first = client.generate("ember", TEXT, stream=True)
    second = client.generate("ember", TEXT, stream=True)
    wait_until(lambda: len(service.peer.messages_of(messages.Generate)) == 2)
    for number in range(3):
        service.peer.send(token(f"second {number}"), 2)
        service.peer.send(token(f"first {number}"), 1)
    assert next(first) == "first 0"
    assert next(second) == "second 0"
    service.peer.send(generated("second"), 2)
    service.peer.send(generated("first"), 1)
    assert list(second) == ["second 1", "second 2"]
    assert list(first) == ["first 1", "first 2"]
    assert (first.reply.text, second.reply.text) == ("first", "second")


def test_progress_is_reported_and_unknown_events_are_ignored(client, service):
    def handler(peer, frame, _request):
        peer.send(messages.Progress(stage="prefill", done=3, total=9), frame.request_id)
        peer.send_bytes(wire.HEADER.pack(wire.MAGIC, 1, frame.request_id, 200, 0, 0) + b"\x80")
        peer.send(messages.Goaway(), 0)
        peer.send(generated(), frame.request_id)

    service.on[messages.Generate] = handler
    seen = []
    client.generate("ember", TEXT, on_progress=seen.append)
    assert [(p.stage, p.done, p.total) for p in seen] == [("prefill", 3, 9)]


def test_a_large_answer_and_a_large_question_are_whole(client, service):
    text = "ö" * 100_000
    service.on[messages.Generate] = fake.replies(generated(text))
    assert client.generate("ember", [{"role": "user", "content": [text] * 4}]).text == text
    (request,) = service.peer.messages_of(messages.Generate)
    assert [part.text for part in request.messages[0].content] == [text] * 4


def test_a_frame_that_comes_byte_by_byte_is_whole(client, service):
    def handler(peer, frame, _request):
        data = wire.encode(token("slow"), frame.request_id)
        data += wire.encode(generated("slow"), frame.request_id)
        for index in range(len(data)):
            peer.send_bytes(data[index : index + 1])

    service.on[messages.Generate] = handler
    assert client.generate("ember", TEXT).text == "slow"


def test_the_second_end_of_a_request_changes_nothing(client, service):
    def handler(peer, frame, _request):
        for message in (generated("one"), generated("two"), token("late")):
            peer.send(message, frame.request_id)

    service.on[messages.Generate] = handler
    assert client.generate("ember", TEXT).text == "one"
    assert client.generate("ember", TEXT).text == "one"
    client.ping()


def test_a_client_that_writes_also_reads(client, service):
    """Both sockets' buffers are full: who only writes waits for ever."""
    many = 200

    def handler(peer, frame, _request):
        for _ in range(many):
            peer.send(messages.Progress(stage="decode"), frame.request_id)
            peer.send(token("x" * 4000), frame.request_id)
        peer.send(generated("done"), frame.request_id)

    service.on[messages.Generate] = handler
    chat = [{"role": "user", "content": ["y" * 200_000] * 4}]
    streams = [client.generate("ember", chat, stream=True) for _ in range(8)]
    assert [stream.reply.text for stream in streams] == ["done"] * 8


@pytest.mark.parametrize(
    "sampling, complaint",
    [
        (
            {"temprature": 1},
            "no parameter temprature of generate. There are max_tokens, temperature",
        ),
        ({"temperature": 3}, "temperature is 3.0: it runs from 0.0 to 2.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5, which is no int"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"top_p": "much"}, "'much', which is no float"),
    ],
)
def test_bad_sampling_is_refused_by_name(client, service, sampling, complaint):
    with pytest.raises(errors.BadRequest) as raised:
        client.generate("ember", TEXT, **sampling)
    assert complaint in str(raised.value)
    assert not service.peer.messages_of(messages.Generate)


@pytest.mark.parametrize(
    "chat, complaint",
    [
        ("hello", "messages is not a list"),
        ([], "messages is not a list"),
        ([{"role": "user"}], r"messages\[0\] is not"),
        ([{"role": "bot", "content": "x"}], "role 'bot': use system, user, assistant"),
        ([{"role": "user", "content": [{"picture": 1}]}], r"messages\[0\]\.content\[0\] is a dict"),
        ([{"role": "user", "content": [{"video": 1}]}], "video is no torch tensor"),
        ([{"role": "user", "content": 5}], "content is neither"),
        ([{"role": "user", "content": "\ud800"}], "not valid Unicode"),
        ([{"role": "user", "content": "x" * 262_145}], "has 262145 bytes: at most 262144"),
        ([{"role": "user", "content": ["x" * 260_000] * 5}], "a message holds at most 1048576"),
    ],
)
def test_bad_chats_are_refused_by_name(client, service, chat, complaint):
    with pytest.raises(errors.BadRequest, match=complaint):
        client.generate("ember", chat)
    client.ping()
    assert not service.peer.messages_of(messages.Generate)


def test_more_pictures_than_the_service_takes_are_refused(client):
    batch = numpy.zeros((65, 2, 2, 3), "u1")
    with pytest.raises(errors.BadRequest, match="65 pictures: the service takes at most 64"):
        client.generate("ember", [{"role": "user", "content": [batch]}])


def test_a_bad_picture_leaves_its_memory_free(client, service):
    bad = numpy.full((8, 8, 3), numpy.nan, "f4")
    for _ in range(3):
        with pytest.raises(errors.BadPicture):
            client.generate("ember", [{"role": "user", "content": [bad]}])
    client.generate("ember", CHAT)
    tensor = service.peer.messages_of(messages.Generate)[0].messages[0].content[1].tensor
    assert tensor.offset == 4096
