"""Thoughts, several answers, grammars and the choices of a model: what is sent and what comes."""

import pytest

from hearth import errors, messages
from server import TEXT, fails, generated, packed_ids, replies


def thinks(peer, frame, _request):
    """Answers with thoughts, and with a second answer that comes in between."""
    for text, more in (
        ("hm ", {"thinking": True}),
        ("other ", {"answer": 1}),
        ("well", {"thinking": True}),
        ("a red ", {}),
        ("noise", {"answer": 1, "thinking": True}),
        ("circle", {}),
    ):
        peer.send(messages.Token(text=text, token_ids=packed_ids(7), **more), frame.request_id)
    peer.send(generated("a red circle", thinking="hm well"), frame.request_id)


def test_thoughts_are_kept_apart_from_the_first_answers_words(client, service):
    service.on[messages.Generate] = thinks
    stream = client.generate("ember", TEXT, stream=True)
    assert list(stream) == ["a red ", "circle"]
    assert (stream.text, stream.thinking) == ("a red circle", "hm well")
    assert stream.reply.thinking == "hm well"


def test_all_answers_arrive_with_what_belongs_to_each(client, service):
    second = messages.Answer(
        text="a red disc",
        thinking="hm",
        token_ids=packed_ids(8, 9),
        token_us=packed_ids(0, 20),
        stop_reason="max_tokens",
        score=-2.5,
    )
    seen = messages.SeenPicture(width=8, height=6, seen_width=32, seen_height=32, tokens=1)
    service.on[messages.Generate] = replies(
        generated(
            others=[second],
            score=-1.5,
            thinking_closed=True,
            pictures=[seen],
            coordinates="pixels",
        )
    )
    reply = client.generate("ember", TEXT, answers=2, beams=4, length_penalty=0.5)
    assert reply.texts == ["a red circle", "a red disc"]
    assert (reply.score, reply.thinking_closed, reply.coordinates) == (-1.5, True, "pixels")
    (other,) = reply.others
    assert (other.thinking, other.token_ids, other.token_us) == ("hm", [8, 9], [0, 20])
    assert (other.stop_reason, other.score) == ("max_tokens", -2.5)
    assert reply.pictures[0].seen_width == 32
    (request,) = service.peer.messages_of(messages.Generate)
    assert (request.answers, request.beams, request.length_penalty) == (2, 4, 0.5)


def test_texts_among_the_parameters_are_sent_as_they_are(client, service):
    client.generate("ember", TEXT, json_schema='{"type": "object"}', thinking="off")
    client.generate("ember", TEXT, regex="a|b")
    first, second = service.peer.messages_of(messages.Generate)
    assert (first.json_schema, first.thinking) == ('{"type": "object"}', "off")
    assert second.regex == "a|b"


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"json_schema": {"type": "object"}}, "json_schema is a dict: use a text"),
        ({"regex": "x" * 300_000}, "regex has 300000 bytes"),
        ({"thinking": "loud"}, "thinking is 'loud'"),
        ({"beams": 9}, "beams is 9: it runs from 1 to 8"),
    ],
)
def test_a_bad_parameter_is_named_before_anything_is_sent(client, service, given, complaint):
    with pytest.raises(errors.BadRequest, match=complaint):
        client.generate("ember", TEXT, **given)
    assert service.peer.messages_of(messages.Generate) == []


def test_a_model_is_offered_with_the_choices_of_its_caller(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    client.offer_model(tmp_path, "int8", head="bfloat16", attention="eager")
    client.offer_model(tmp_path)
    chosen = [
        (offer.dtype, offer.head, offer.attention)
        for offer in service.peer.messages_of(messages.OfferModel)
    ]
    assert chosen == [("int8", "bfloat16", "eager"), ("auto", "auto", "auto")]


def test_an_unknown_choice_is_refused_with_those_there_are(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    service.on[messages.OfferModel] = fails("bad_request", "attention has no choice sage.")
    with pytest.raises(errors.BadRequest, match="attention"):
        client.offer_model(tmp_path, attention="sage")
