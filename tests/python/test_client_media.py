"""Videos and limits of single pictures on their way into messages, and what a chat would take."""

import json
from pathlib import Path

import numpy
import pytest

from hearth import errors, messages
from hearth.media import medium_of
from hearth.video import spaced_indices, wanted_frames

TABLES = Path(__file__).parents[1] / "data" / "video" / "tables.json"


def video(count=8):
    return numpy.arange(count, dtype="u1")[:, None, None, None].repeat(4, 1).repeat(4, 2)


def chat(*content):
    return [{"role": "user", "content": list(content)}]


def part_sent(client, service, value):
    client.generate("m", chat(value))
    return service.peer.messages_of(messages.Generate)[0].messages[0].content[0]


def cases(by_fps):
    rows = json.loads(TABLES.read_text())["sampled"]
    return [row[1:] for row in rows if row[0] == "qwen3_vl" and bool(row[3]) == by_fps]


def test_frames_are_spaced_as_transformers_spaces_them():
    rows = cases(by_fps=False)
    assert len(rows) > 20
    for count, _, _, frames, indices in rows:
        assert spaced_indices(count, frames) == indices


def test_as_many_frames_are_taken_a_second_as_transformers_takes():
    rows = [row for row in cases(by_fps=True) if row[2] == 2.0]
    assert len(rows) > 10
    for count, fps, _, _, indices in rows:
        assert spaced_indices(count, wanted_frames(count, fps)) == indices


def test_a_second_gives_two_frames_unless_more_are_asked_for(client, service):
    part = part_sent(client, service, {"video": video(48), "fps": 6})
    assert part.frame_indices == [0, 3, 6, 9, 13, 16, 19, 22, 25, 28, 31, 34, 38, 41, 44, 47]
    assert part.fps == 6 and part.tensor.shape == [16, 4, 4, 1]


def test_frames_that_were_chosen_already_keep_their_numbers(client, service):
    given = {"video": video(3), "fps": 24, "indices": numpy.array([5, 7, 100])}
    part = part_sent(client, service, given)
    assert (part.kind, part.fps, part.frame_indices) == ("video", 24.0, [5, 7, 100])
    assert service.peer.arena_bytes(part.tensor) == video(3).tobytes()


def test_a_put_video_keeps_what_was_said_of_it(client, service):
    with client.put({"video": video(3), "fps": 24, "indices": [5, 7, 9], "max_pixels": 99}) as held:
        part = part_sent(client, service, held)
    assert (part.fps, part.frame_indices, part.max_pixels) == (24.0, [5, 7, 9], 99)


def test_a_picture_has_limits_of_its_own(client, service):
    picture = numpy.zeros((2, 4, 4, 3), "u1")
    client.generate(
        "m", chat({"image": picture, "min_pixels": 10, "max_pixels": 2000}, picture[0]), seed=1
    )
    parts = service.peer.messages_of(messages.Generate)[0].messages[0].content
    assert [(part.min_pixels, part.max_pixels) for part in parts] == [(10, 2000)] * 2 + [(0, 0)]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"video": video()}, "fps is None"),
        ({"video": video(), "fps": 0}, "fps is 0"),
        ({"video": video(), "fps": float("nan")}, "fps is nan"),
        ({"video": video(), "fps": -1}, "fps is -1"),
        ({"video": video(), "fps": "fast"}, "fps is 'fast'"),
        ({"video": video(), "fps": 8, "indices": [0, 1]}, "2 indices for 8 frames"),
        ({"video": video(2), "fps": 8, "indices": [1, 1]}, "do not rise"),
        ({"video": video(2), "fps": 8, "indices": [-1, 1]}, "do not rise"),
        ({"video": video(2), "fps": 8, "indices": ["a", "b"]}, "no list of numbers"),
        ({"video": video(2), "fps": 8, "indices": [0, 1], "frames": 2}, "Give one of them"),
        ({"video": video(2), "fps": 8, "max_pixels": -1}, "max_pixels is -1"),
        ({"video": video(2), "fps": 8, "min_pixels": 9, "max_pixels": 8}, "over max_pixels"),
        ({"video": video(2), "fps": 8, "speed": 1}, "is a dict"),
        ({"image": "a.png"}, "image is no torch tensor"),
        ({"image": video()[0], "max_pixels": "large"}, "max_pixels is 'large'"),
    ],
)
def test_what_makes_no_sense_is_named(given, word):
    with pytest.raises(errors.BadRequest, match="part") as raised:
        medium_of(given, "part")
    assert word in str(raised.value)


def counted(peer, frame, message):
    reply = messages.TokensCounted(prompt_tokens=30, image_tokens=20, context_tokens=4096)
    reply.pictures = [
        messages.SeenPicture(width=4, height=4, seen_width=8, seen_height=8, tokens=20)
    ]
    peer.send(reply, frame.request_id)


def test_tokens_are_counted_by_sizes_alone(client, service):
    service.on[messages.CountTokens] = counted
    picture = numpy.zeros((480, 640, 3), "f4")
    found = client.count_tokens(
        "m", chat("hello", picture, {"video": video(), "fps": 4}), thinking="off", max_pixels=9
    )
    assert found[:3] == (30, 20, 4096) and found.pictures[0].tokens == 20
    (sent,) = service.peer.messages_of(messages.CountTokens)
    assert (sent.thinking, sent.max_pixels) == ("off", 9)
    _, image, clip = sent.messages[0].content
    assert (image.tensor.shape, image.tensor.nbytes) == ([480, 640, 3], 0)
    assert (clip.tensor.shape, clip.fps) == ([4, 4, 4, 1], 4.0)
    assert not service.peer.messages_of(messages.ArenaAsk)


def test_options_that_counting_does_not_have_are_refused(client):
    with pytest.raises(errors.BadRequest, match="seed of count_tokens"):
        client.count_tokens("m", chat("hello"), seed=1)
