"""How answers are chosen, through the whole path: ember's follow schemas and expressions, the fake
family's thoughts come apart from their text."""

import json
import re
from pathlib import Path

import pytest
from test_generate import ask

from hearth import errors

EMBER = Path(__file__).resolve().parents[2] / "models/ember/weights"
SHAPES = ["circle", "square", "triangle", "star", "cross"]
SCHEMA = {
    "type": "object",
    "properties": {
        "shape": {"enum": SHAPES},
        "count": {"type": "integer", "minimum": 0, "maximum": 3},
        "large": {"type": "boolean"},
    },
    "required": ["shape", "count", "large"],
}


@pytest.fixture
def ember(client):
    return client.offer_model(EMBER)


def test_an_answer_is_json_of_its_schema(client, ember):
    for seed in range(4):
        reply = client.generate(
            ember, ask("How many shapes are there?"), json_schema=json.dumps(SCHEMA),
            temperature=1.0, seed=seed, max_tokens=300,
        )  # fmt: skip
        assert reply.stop_reason == "end_token"
        answer = json.loads(reply.text)
        assert answer["shape"] in SHAPES and 0 <= answer["count"] <= 3
        assert isinstance(answer["large"], bool) and list(answer) == list(SCHEMA["properties"])
        assert not reply.warnings


def test_an_answer_matches_its_expression(client, ember):
    expression = r"(One|Two|Three) (red|green) [a-z]{4,8}s?\."
    reply = client.generate(
        ember, ask("Describe the picture."), regex=expression, temperature=0, max_tokens=60
    )
    assert re.fullmatch(expression, reply.text), reply.text
    assert client.generate(
        ember, ask("Describe the picture."), regex=expression, temperature=0, max_tokens=60
    ).text == reply.text  # fmt: skip


def test_an_answer_that_is_cut_says_that_its_schema_is_not_complete(client, ember):
    reply = client.generate(ember, ask("Hello?"), json_schema=json.dumps(SCHEMA), max_tokens=3)
    assert reply.stop_reason == "max_tokens"
    assert any("schema" in warning for warning in reply.warnings)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"json_schema": '{"type": "array", "uniqueItems": true}'}, errors.Unsupported, "unique"),
        ({"json_schema": "{"}, errors.BadRequest, "json_schema"),
        ({"regex": r"(a)\1"}, errors.Unsupported, "regex"),
        ({"regex": "a", "json_schema": "{}"}, errors.BadRequest, "both"),
        ({"thinking": "on"}, errors.Unsupported, "does not think"),
        ({"beams": 2, "answers": 3}, errors.BadRequest, "3 answers"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(client, ember, options, error, word):
    with pytest.raises(error, match=word):
        client.generate(ember, ask("Hello?"), **options)


def test_no_run_comes_twice(client, ember):
    reply = client.generate(
        ember, ask("Describe the picture."), no_repeat_ngram=2, temperature=0, max_tokens=60
    )
    said = reply.prompt_token_ids + reply.token_ids
    pairs = [(said[i], said[i + 1]) for i in range(len(said) - 1)]
    fresh = pairs[len(reply.prompt_token_ids) - 1 :]
    assert all(pairs.index(pair) == len(pairs) - len(fresh) + i for i, pair in enumerate(fresh))


def test_penalties_and_typical_change_what_is_said(client, ember):
    def said(**options):
        return client.generate(ember, ask("Describe the picture."), max_tokens=40, **options).text

    plain = said(temperature=0)
    assert said(temperature=0, frequency_penalty=-2.0) != plain
    drawn = {said(temperature=2.0, top_k=0, top_p=1.0, seed=seed) for seed in range(4)}
    assert len(drawn) > 1
    typical = said(temperature=2.0, top_k=0, top_p=1.0, seed=1, typical_p=0.0)
    assert typical == said(temperature=2.0, top_k=0, top_p=1.0, seed=2, typical_p=0.0)


def test_thoughts_come_apart_from_the_text(client, model):
    offered = client.offer_model(model)
    reply = client.generate(offered, ask("<think>well</think>yes"), temperature=0, stop=["el"])
    assert (reply.thinking, reply.text) == ("well", "yes")
    assert reply.receipt.thinking_tokens == 4 and not reply.thinking_closed
    limited = client.generate(
        offered, ask("<think>welllll</think>yes"), temperature=0, thinking_tokens=3
    )
    assert limited.thinking == "wel" and limited.thinking_closed
    stream = client.generate(offered, ask("<think>well</think>yes"), stream=True, temperature=0)
    assert "".join(stream) == "yes" and stream.thinking == "well"


def test_a_kept_answer_is_that_of_equal_parameters_only(client, model):
    offered = client.offer_model(model)

    def again(**options):
        reply = client.generate(
            offered, ask("<think>well</think>yes"), temperature=0, reuse=True, **options
        )
        return reply.receipt.replayed

    assert not again() and again()
    for options in (
        {"typical_p": 0.5}, {"frequency_penalty": 0.5}, {"no_repeat_ngram": 9},
        {"thinking": "off"}, {"thinking_tokens": 2}, {"json_schema": "{}"}, {"regex": "[a-z]*"},
    ):  # fmt: skip
        assert not again(**options), options
        assert again(**options), options


def test_a_kept_answers_thoughts_are_told_again(client, model):
    offered = client.offer_model(model)
    for _ in range(2):
        reply = client.generate(
            offered, ask("<think>hm</think>ok"), temperature=0, reuse=True, stop=["never"]
        )
        assert (reply.thinking, reply.text) == ("hm", "ok")
    assert reply.receipt.replayed
