"""What a model computes in, and by what, chosen by the client and done by the engine."""

import pytest
from service import ROOT

import hearth.client

EMBER = ROOT / "models/ember/weights"
# Long enough that not all of its prompt goes the way of single steps.
CHAT = [{"role": "user", "content": "Describe a picture of a red square. " * 12}]


@pytest.fixture
def client(start_daemon):
    with start_daemon().connect() as connected:
        yield connected


def test_each_attention_is_a_model_of_its_own_and_says_the_same(client):
    answers, ids = [], set()
    for attention in ("auto", "sdpa", "eager"):
        model = client.offer_model(EMBER, "float32", attention=attention)
        reply = client.generate(model, CHAT, temperature=0.0, max_tokens=16)
        answers.append(reply.token_ids)
        ids.add(model.id)
    assert answers[0] == answers[1] == answers[2]
    assert len(ids) == 3


def test_an_attention_that_is_not_there_is_refused_when_it_is_offered(client):
    with pytest.raises(hearth.client.HearthError, match="flash") as refused:
        client.offer_model(EMBER, "float32", attention="flash")
    assert refused.value.code == "unsupported"


def test_a_head_that_is_kept_is_another_model(client):
    rounded = client.offer_model(EMBER, "int8")
    kept = client.offer_model(EMBER, "int8", head="bfloat16")
    assert rounded.id != kept.id
    assert client.generate(kept, CHAT, temperature=0.0, max_tokens=4).token_ids
