"""What the nodes do beside other programs, in our small ComfyUI and in real ones: as cases.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cases import caption, preview

from hub_server import Hub

REPOSITORY = "someone/Tiny-VL"
WEIGHTS = bytes(8) + bytes(1 << 20)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    header = b'{"nothing": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    with Hub() as running:
        running.repositories[REPOSITORY] = {
            "config.json": json.dumps({"model_type": "hearth_fake", "prefix": "fetched"}).encode(),
            "tokenizer.json": b"{}",
            "model.safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
        }
        yield running


def test_a_model_is_fetched_and_answers_in_one_run(comfy: Any, service: Any, hub: Hub) -> None:
    inputs = {"model": "Qwen/Qwen3-VL-2B-Instruct", "repository": REPOSITORY, "revision": "main"}
    fetch = {"class_type": "HearthFetchModel", "inputs": {**inputs, "download_if_missing": True}}
    workflow = {"1": fetch, "2": caption("hello", model=["1", 0]), "3": preview("2")}
    outcome = comfy.run(workflow)
    assert outcome.status == "success", outcome.error
    assert outcome.text("3") == "fetched hello"
    assert "LLM/Tiny-VL" in outcome.text("1")
    again = comfy.run({"1": caption("again", model="LLM/Tiny-VL", download_if_missing=False)})
    assert again.text("1") == "fetched again"


def test_a_missing_model_is_an_error_that_says_what_to_switch_on(
    comfy: Any, service: Any, hub: Hub
) -> None:
    asked = len(hub.asked)
    outcome = comfy.run({"1": caption("hello", model="Qwen/Qwen3-VL-4B-Instruct")})
    assert (outcome.status, outcome.error_type) == ("error", "UnknownModel")
    assert "8.9 GB" in outcome.error and "download_if_missing" in outcome.error
    assert len(hub.asked) == asked
