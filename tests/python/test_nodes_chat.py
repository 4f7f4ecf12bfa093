"""Chat, Prompt Enhancer and Unload: what is sent, and what the outputs hold."""

import sys
import threading

import pytest

import server as scripted
from hearth import messages, presets
from nodes_for_test import TESTS, FakeComfy, asked, give, make, outputs, says

torch = pytest.importorskip("torch")

import hearthd_for_test as services  # noqa: E402


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    base = tmp_path / "comfy"
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


def said(request):
    """(role, texts and kinds of the rest) of every turn."""
    return [
        (turn.role, [part.text or part.kind for part in turn.content]) for turn in request.messages
    ]


def test_two_chat_nodes_are_two_turns_of_one_conversation(comfy, service):
    service.on[messages.Generate] = says("Hi!", "A square.")
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 8, 8, 3)),
        "1": make("HearthChat", system_prompt="Be brief."),
        "2": make("HearthChat", history=["1", 1], message="And this?", image=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "2", 4)
    assert outcome.status == "success", outcome.error
    assert said(asked(service)[1]) == [
        ("system", ["Be brief."]),
        ("user", ["Hello"]),
        ("assistant", ["Hi!"]),
        ("user", ["image", "And this?"]),
    ]
    transcript = "System: Be brief.\n\nYou: Hello\n\nModel: Hi!"
    assert values[2] == [f"{transcript}\n\nYou: [picture] And this?\n\nModel: A square."]
    assert values[0] == ["A square."]


def test_a_named_conversation_goes_on_with_every_run_and_is_forgotten_on_reset(comfy, service):
    node = make("HearthChat", conversation="notes")
    for _ in range(3):
        assert "1" not in comfy.run({"1": node}).cached
    assert [len(request.messages) for request in asked(service)] == [1, 3, 5]
    comfy.run({"1": make("HearthChat", conversation="notes", reset=True)})
    comfy.run({"1": node})
    assert [len(request.messages) for request in asked(service)[3:]] == [1, 3]


def later(answer):
    """Answers when whoever does not wait has asked."""
    return lambda *told: threading.Timer(0.2, answer, told).start()


def test_two_turns_of_one_name_in_a_workflow_know_of_each_other(comfy, service):
    service.on[messages.Generate] = later(says("One.", "Two.", "Three."))
    node = make("HearthChat", conversation="both")
    for _ in range(2):
        outcome = comfy.run({"1": node, "2": make("HearthChat", conversation="both")})
        assert outcome.status == "success", outcome.error
    lengths = [len(request.messages) for request in asked(service)]
    assert lengths == [1, 3, 5, 7]
    words = [words for _, words in said(asked(service)[3])]
    assert words[1::2] == [["One."], ["Two."], ["Three."]]


def test_conversations_of_two_names_are_held_side_by_side(comfy, service):
    waiting = []

    def both(*told):
        waiting.append(told)
        if len(waiting) == 2:
            for one in waiting:
                scripted.answer(*one)

    service.on[messages.Generate] = both
    workflow = {name: make("HearthChat", conversation=name) for name in "ab"}
    assert comfy.run(workflow).status == "success"


def test_a_turn_that_fails_lets_the_next_one_speak(comfy, service):
    service.on[messages.Generate] = scripted.fails("out_of_memory", "8 GB needed.")
    node = make("HearthChat", conversation="again")
    assert comfy.run({"1": node, "2": {**node}}).error_type == "OutOfMemory"
    service.on[messages.Generate] = says("Hi!")
    assert comfy.run({"1": node}).status == "success"
    assert len(asked(service)[-1].messages) == 1
    module = f"{comfy.module.__name__}.client_py.hearth.nodes._conversations"
    assert sys.modules[module]._turns == {}


def test_a_chat_without_a_name_is_answered_from_comfyuis_cache(comfy, service):
    comfy.run({"1": make("HearthChat")})
    assert comfy.run({"1": make("HearthChat")}).cached == ["1"]


def test_only_the_newest_turns_are_shown_to_the_model(comfy, service):
    node = make("HearthChat", conversation="long", max_turns=3, system_prompt="Be brief.")
    for _ in range(6):
        comfy.run({"1": node})
    roles = [turn.role for turn in asked(service)[-1].messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert len(asked(service)[1].messages) == 4


def test_of_one_turn_only_the_new_question_is_shown(comfy, service):
    node = make("HearthChat", conversation="short", max_turns=1, system_prompt="Be brief.")
    for _ in range(3):
        assert comfy.run({"1": node}).status == "success"
    assert [turn.role for turn in asked(service)[-1].messages] == ["system", "user"]


def test_a_picture_of_a_conversation_is_written_to_shared_memory_once(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.rand(1, 64, 64, 3)),
        "1": make("HearthChat", image=["0", 0]),
        "2": make("HearthChat", history=["1", 1], message="Why?"),
        "3": make("HearthChat", history=["2", 1], message="How?"),
    }
    assert comfy.run(workflow).status == "success"
    places = {
        (part.tensor.arena, part.tensor.offset)
        for request in asked(service)
        for turn in request.messages
        for part in turn.content
        if part.kind == "image"
    }
    assert len(asked(service)) == 3 and len(places) == 1


@pytest.mark.parametrize(
    "kind, name", [("HearthChat", "message"), ("HearthPromptEnhancer", "prompt")]
)
def test_nothing_to_say_is_an_error_that_says_so(comfy, service, kind, name):
    outcome = comfy.run({"1": make(kind, **{name: " "})})
    assert outcome.error_type == "BadRequest" and f"{name} is empty" in outcome.error
    assert asked(service) == []


def test_a_wrong_socket_is_named(comfy, service):
    workflow = {
        "0": give(comfy, "Wrong", "text", "HEARTH_CHAT"),
        "1": make("HearthChat", history=["0", 0]),
    }
    outcome = comfy.run(workflow)
    assert outcome.error_type == "BadRequest" and "history is a str" in outcome.error


@pytest.mark.parametrize("style", presets.STYLES)
def test_every_style_tells_the_model_what_to_do_with_the_prompt(comfy, service, style):
    node = make("HearthPromptEnhancer", style=style, instruction="In rhymes.", language="German")
    assert comfy.run({"1": node}).text("1") == "a red circle"
    system, user = said(asked(service)[0])
    assert system[0] == "system" and user == ("user", ["a cat"])
    assert system[1][0].startswith(presets.ENHANCER)
    assert system[1][0].endswith("In rhymes.\n\nWrite in German.")
    assert presets.STYLES[style] in system[1][0]


def test_an_own_instruction_must_be_there(comfy, service):
    outcome = comfy.run({"1": make("HearthPromptEnhancer", style="Own instruction")})
    assert outcome.error_type == "BadRequest" and "instruction is empty" in outcome.error


def test_unload_frees_what_is_idle_and_passes_on_what_came_in(comfy, service):
    workflow = {
        "0": give(comfy, "Source", torch.zeros(1, 8, 8, 3)),
        "1": make("HearthUnload", trigger=["0", 0]),
    }
    outcome, values = outputs(comfy, workflow, "1", 2)
    assert values[1] == ["another left memory: 5.0 GiB given back. 1.0 GiB are still in use."]
    assert values[0][0].shape == (1, 8, 8, 3)
    assert "1" not in comfy.run(workflow).cached


def test_unload_gives_up_one_model(comfy, service):
    assert comfy.run({"1": make("HearthUnload", model="ember")}).text("1") == "ember left memory."
    service.on[messages.UnloadModel] = lambda peer, frame, _request: peer.send(
        messages.ModelUnloaded(resident=True), frame.request_id
    )
    workflow = {"0": make("HearthModel"), "1": make("HearthUnload", llm=["0", 0])}
    assert "others hold it" in comfy.run(workflow).text("1")


def test_unload_fetches_nothing(comfy, service, monkeypatch):
    from hearth.nodes import _fetch

    async def fail(*_names):
        raise AssertionError("a model was fetched to be unloaded")

    monkeypatch.setattr(_fetch, "fetch", fail)
    workflow = {
        "0": make("HearthModel", model="Qwen/Qwen3-VL-2B-Instruct", download_if_missing=True),
        "1": make("HearthUnload", llm=["0", 0]),
    }
    assert comfy.run(workflow).error_type == "UnknownModel"


def test_unload_gives_up_every_precision_of_a_model(comfy, service):
    services.make_fake_model(comfy.base / "models/LLM/fake")
    asking = {"model": "LLM/fake"}
    for precision in ("auto", "int8 (8 bit)"):
        node = make("HearthPromptEnhancer", precision=precision, **asking)
        assert comfy.run({"1": node}).status == "success"
    used = {request.model for request in asked(service)}
    assert len(used) == 2
    assert comfy.run({"1": make("HearthUnload", **asking)}).text("1") == "LLM/fake left memory."
    left = [one.model for peer in service.peers for one in peer.messages_of(messages.UnloadModel)]
    assert used <= set(left)
