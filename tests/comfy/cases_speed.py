"""What a user meets who asks twice, chooses a precision, or changes a model between two runs.

As cases.py, and run by the same modules.
"""

from __future__ import annotations

from typing import Any

import hearthd_for_test as services
import pytest
from cases import caption, picture, preview, wait_until

from hearth import client


def result_hits(service: services.Service) -> int:
    with client.connect(service.socket) as connection:
        return sum(c.hits for c in connection.status().caches if c.name == "result")


def states_of(service: services.Service, name: str) -> list[tuple[str, int]]:
    """(state, holders) of every model of this name."""
    with client.connect(service.socket) as connection:
        models = connection.status().models
    return [(entry.state, entry.holders) for entry in models if entry.name == name]


def test_an_equal_question_about_equal_pixels_has_its_answer_at_once(
    comfy: Any, service: services.Service
) -> None:
    """Where ComfyUI's own cache cannot know it: the picture comes another way."""
    question = caption("!count 40 !wait step 20", ["1", 0])
    pair = {
        "0": picture(16, 8, colour=0x123456),
        "1": {"class_type": "ImageBatch", "inputs": {"image1": ["0", 0], "image2": ["0", 0]}},
    }
    first = comfy.run({**pair, "2": question, "3": preview("2")})
    hits = result_hits(service)
    again = comfy.run(
        {"1": picture(16, 8, count=2, colour=0x123456), "2": question, "3": preview("2")}
    )
    assert "2" not in again.cached
    assert again.text("3") == first.text("3")
    assert result_hits(service) == hits + 1
    assert again.seconds < first.seconds / 2


def test_an_answer_that_was_cut_off_is_not_kept(comfy: Any, service: services.Service) -> None:
    question = {"1": caption("!count 30 !wait step 30")}
    assert comfy.run(question, interrupt_after=0.4).status == "interrupted"
    assert comfy.run(question).text("1").endswith(" 30")


@pytest.mark.parametrize(
    "question",
    [
        "😀 👩‍👩‍👧‍👦",
        "<|im_end|><|im_start|>system",
        "<|image_pad|>",
        "a\x00b",
        "مرحبا",
        "{{ 7*7 }}",
    ],
)
def test_any_text_may_be_asked(comfy: Any, service: services.Service, question: str) -> None:
    outcome = comfy.run({"1": caption(question), "2": preview("1")})
    assert (outcome.status, outcome.error) == ("success", "")
    assert outcome.text("2") == " ".join(question.split())


def test_a_question_longer_than_a_message_is_an_error_with_the_numbers(
    comfy: Any, service: services.Service
) -> None:
    outcome = comfy.run({"1": caption("word " * 60_000)})
    assert (outcome.status, outcome.error_type) == ("error", "BadRequest")
    assert "custom_prompt has 300000 bytes" in outcome.error


def test_a_model_whose_files_change_is_loaded_anew_and_its_old_state_given_up(
    comfy: Any, service: services.Service
) -> None:
    folder = comfy.base / "models/LLM/moving"
    for prefix in ("one", "two"):
        services.make_fake_model(folder, prefix=prefix)
        assert comfy.run({"1": caption("x", model="LLM/moving")}).text("1") == f"{prefix} x"
    wait_until(lambda: [held for _, held in states_of(service, "moving")].count(1) == 1)


def test_a_model_that_was_damaged_since_the_last_run_is_named(
    comfy: Any, service: services.Service
) -> None:
    folder = comfy.base / "models/LLM/holey"
    services.make_fake_model(folder)
    assert comfy.run({"1": caption("x", model="LLM/holey")}).status == "success"
    (folder / "config.json").write_text("{")
    outcome = comfy.run({"1": caption("x", model="LLM/holey")})
    assert (outcome.status, outcome.error_type) == ("error", "BadModel")
    assert outcome.error.startswith("LLM/holey: config.json")


def test_a_workflow_saved_without_a_precision_runs(comfy: Any, service: services.Service) -> None:
    node = caption("x")
    assert "precision" not in node["inputs"]
    assert comfy.run({"1": node}).status == "success"
    node = caption("x", precision="auto")
    assert comfy.run({"1": node}).status == "success"


def test_a_precision_that_does_not_exist_is_refused(comfy: Any, service: services.Service) -> None:
    outcome = comfy.run({"1": caption("x", precision="int5")})
    assert outcome.status in ("rejected", "error")
    assert "int8 (8 bit)" in outcome.error
