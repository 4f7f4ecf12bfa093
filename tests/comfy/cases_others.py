"""What the nodes do beside other programs, in our small ComfyUI and in real ones: as cases.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import hearthd_for_test as services
import pytest
from cases import caption, preview

from hub_server import Hub

REPOSITORY = "someone/Tiny-VL"


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


def test_a_download_is_cancelled_at_once_and_gone_on_with(
    comfy: Any, service: Any, hub: Hub
) -> None:
    small = hub.repositories[REPOSITORY]
    slow = {**small, "model.safetensors": small["model.safetensors"] + bytes(4 << 20)}
    hub.repositories["someone/Slow-VL"] = slow
    inputs = {"model": "Qwen/Qwen3-VL-2B-Instruct", "repository": "someone/Slow-VL"}
    given = {**inputs, "revision": "main", "download_if_missing": True}
    workflow = {"1": {"class_type": "HearthFetchModel", "inputs": given}, "2": preview("1")}
    hub.slow_s = 0.2
    outcome = comfy.run(workflow, interrupt_after=1.5)
    hub.slow_s = 0.0
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 10  # ten times the target
    assert any("Fetching someone/Slow-VL" in text for _, text in outcome.texts)
    llms = comfy.base / "models/LLM"
    (part,) = llms.glob(".hearth-incomplete/someone--Slow-VL@*/model.safetensors.part")
    assert 0 < part.stat().st_size < len(slow["model.safetensors"])
    assert not (llms / "Slow-VL").exists()
    outcome = comfy.run(workflow)
    assert outcome.status == "success", outcome.error
    assert outcome.text("2") == "LLM/Slow-VL"
    assert (llms / "Slow-VL/model.safetensors").read_bytes() == slow["model.safetensors"]


def test_a_missing_model_is_an_error_that_says_what_to_switch_on(
    comfy: Any, service: Any, hub: Hub
) -> None:
    asked = len(hub.asked)
    outcome = comfy.run({"1": caption("hello", model="Qwen/Qwen3-VL-4B-Instruct")})
    assert (outcome.status, outcome.error_type) == ("error", "UnknownModel")
    assert "8.9 GB" in outcome.error and "download_if_missing" in outcome.error
    assert len(hub.asked) == asked


PEER_INPUTS = {
    "AILab_QwenVL": {
        "model_name": "Qwen3-VL-2B-Instruct",
        "quantization": "None (FP16)",
        "attention_mode": "auto",
        "preset_prompt": "🖼️ Simple Description",
        "custom_prompt": "",
        "max_tokens": 64,
        "keep_model_loaded": True,
        "seed": 1,
    },
    "AILab_QwenVL_Advanced": {
        "model_name": "Qwen3-VL-2B-Instruct",
        "quantization": "None (FP16)",
        "attention_mode": "auto",
        "use_torch_compile": False,
        "device": "auto",
        "preset_prompt": "🖼️ Detailed Description",
        "custom_prompt": "Describe this picture.",
        "max_tokens": 64,
        "temperature": 0.1,
        "top_p": 0.1,
        "num_beams": 1,
        "repetition_penalty": 1.0,
        "frame_count": 16,
        "keep_model_loaded": True,
        "seed": 1,
    },
    "QwenVL": {
        "system": "",
        "text": "Describe this picture.",
        "model": "Qwen3-VL-2B-Instruct",
        "quantization": "none",
        "attention_mode": "sdpa",
        "keep_model_loaded": True,
        "bypass": False,
        "do_sample": False,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 50,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_new_tokens": 128,
        "seed": 1,
        "video_path": "",
    },
}
PEER_INPUTS["Qwen2.5VL"] = PEER_INPUTS["QwenVL"]
SOCKET = {"QwenVL": "image1", "Qwen2.5VL": "image1"}


def red_square() -> dict[str, Any]:
    """Nodes 1 to 3 draw what the embedded model knows."""
    drawn = json.loads((services.ROOT / "example_workflows/api/drawn_square.json").read_text())
    return {name: drawn[name] for name in ("1", "2", "3")}


def skip_without_ember(outcome: Any) -> None:
    if outcome.error_type == "UnknownModel" or "Families built in: fake." in outcome.error:
        pytest.skip("this hearthd publishes no ember, or is built without torch")


@pytest.mark.parametrize("meta", [True, False], ids=["with _meta", "without _meta"])
@pytest.mark.parametrize("name", PEER_INPUTS)
def test_another_packs_node_is_answered_by_ours(
    comfy: Any, service: Any, name: str, meta: bool
) -> None:
    """Queued as that pack's users have it saved; the pack is not installed."""
    inputs = {**PEER_INPUTS[name], SOCKET.get(name, "image"): ["3", 0]}
    node = {"class_type": name, "inputs": inputs, **({"_meta": {"title": name}} if meta else {})}
    outcome = comfy.run({**red_square(), "4": node, "5": preview("4")})
    skip_without_ember(outcome)
    assert outcome.status == "success", outcome.error
    assert "red square" in outcome.text("5")


def test_another_packs_enhancer_is_answered_by_ours(comfy: Any, service: Any) -> None:
    inputs = {
        "model_name": "fake",
        "quantization": "None (FP16)",
        "attention_mode": "auto",
        "use_torch_compile": False,
        "device": "auto",
        "prompt_text": "a cat on a roof",
        "enhancement_style": "📝 Enhance",
        "custom_system_prompt": "",
        "max_tokens": 256,
        "temperature": 0.7,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "keep_model_loaded": True,
        "seed": 1,
    }
    node = {"class_type": "AILab_QwenVL_PromptEnhancer", "inputs": inputs}
    outcome = comfy.run({"4": node, "5": preview("4")})
    assert outcome.status == "success", outcome.error
    assert "a cat on a roof" in outcome.text("5")


def test_a_bypassed_node_of_another_pack_gives_its_text(comfy: Any, service: Any) -> None:
    inputs = {**PEER_INPUTS["QwenVL"], "bypass": True, "text": "as it is"}
    node = {"class_type": "QwenVL", "inputs": inputs}
    assert comfy.run({"4": node, "5": preview("4")}).text("5") == "as it is"


def test_a_choice_that_the_browser_copied_is_understood(comfy: Any, service: Any) -> None:
    node = caption("hello", model="fake", precision="None (FP16)", preset_prompt="🖼️ Tags")
    assert comfy.run({"4": node}).text("4") == "hello"


def clip(**inputs: Any) -> dict[str, Any]:
    given = {"model": "ember", "keep_loaded": True, "precision": "auto", **inputs}
    return {"class_type": "HearthLLMAsCLIP", "inputs": given}


def text_generate(prompt: str, **inputs: Any) -> dict[str, Any]:
    """Core's node, as a browser queues it."""
    given = {"clip": ["1", 0], "prompt": prompt, "max_length": 64, "sampling_mode": "off"}
    return {"class_type": "TextGenerate", "inputs": {**given, **inputs}}


SAMPLING = {
    "sampling_mode": "on",
    "sampling_mode.temperature": 0.7,
    "sampling_mode.top_k": 64,
    "sampling_mode.top_p": 0.95,
    "sampling_mode.min_p": 0.05,
    "sampling_mode.repetition_penalty": 1.05,
    "sampling_mode.seed": 3,
}


@pytest.fixture
def generating(comfy: Any) -> Any:
    """A ComfyUI that has the node TextGenerate."""
    if comfy.version.startswith("0.3."):
        pytest.skip("this ComfyUI generates no text itself")
    return comfy


def test_an_older_comfyui_says_that_it_generates_no_text(comfy: Any, service: Any) -> None:
    if not comfy.version.startswith("0.3."):
        pytest.skip("this ComfyUI generates text")
    outcome = comfy.run({"1": clip(model="fake"), "2": preview("1")})
    assert (outcome.status, outcome.error_type) == ("error", "Unsupported")
    assert "Qwen-VL (Hearth)" in outcome.error


def test_cores_own_node_generates_with_our_model(generating: Any, service: Any) -> None:
    generate = text_generate("Describe this picture.", clip=["6", 0], image=["3", 0])
    workflow = {**red_square(), "6": clip(), "4": generate, "5": preview("4")}
    outcome = generating.run(workflow)
    skip_without_ember(outcome)
    assert outcome.status == "success", outcome.error
    assert "red square" in outcome.text("5")


def test_cores_node_streams_words_and_can_be_cancelled(generating: Any, service: Any) -> None:
    slow = text_generate("!count 30 !wait step 20", **SAMPLING)
    outcome = generating.run({"1": clip(model="fake"), "2": slow, "3": preview("2")})
    assert outcome.status == "success", outcome.error
    shown = [text for node, text in outcome.texts if node == "2"]
    assert len(shown) > 3 and outcome.text("3").startswith("1 2 3")
    endless = text_generate("!count 500 !wait step 50", max_length=600)
    outcome = generating.run(
        {"1": clip(model="fake"), "2": endless, "3": preview("2")}, interrupt_after=0.8
    )
    assert outcome.status == "interrupted"
    assert outcome.interrupt_seconds < 2.0  # ten times the target


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"use_default_template": False}, "use_default_template"),
        ({"model": "LLM/gone"}, "LLM/gone"),
    ],
)
def test_what_cores_node_may_not_ask_says_why(
    generating: Any, service: Any, changed: dict[str, Any], words: str
) -> None:
    model = {"model": "fake", **{k: v for k, v in changed.items() if k == "model"}}
    asked = {k: v for k, v in changed.items() if k != "model"}
    outcome = generating.run(
        {"1": clip(**model), "2": text_generate("x", **asked), "3": preview("2")}
    )
    assert outcome.status in ("error", "rejected")
    assert words in outcome.error


def test_our_clip_makes_no_conditioning(generating: Any, service: Any) -> None:
    encode = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 0], "text": "a cat"}}
    outcome = generating.run({"1": clip(model="fake"), "2": encode, "3": preview("2")})
    assert (outcome.status, outcome.error_type) == ("error", "Unsupported")
    assert "conditioning" in outcome.error
