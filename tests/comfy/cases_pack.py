"""The rest of the pack: every node by itself, and every example workflow.

As cases.py, and run by the same modules.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import hearthd_for_test as services
import pytest
from cases import FAKE, picture, preview
from PIL import Image

EXAMPLES = services.ROOT / "example_workflows/api"
_seeds = itertools.count(1 + os.getpid() * 2000)


def asking(kind: str, **inputs: Any) -> dict[str, Any]:
    """A node that asks the fake model, with what is always required. A seed of its own keeps
    ComfyUI's cache out of the test."""
    usual = {
        "HearthQwenVLAdvanced": {
            "preset_prompt": "Describe",
            "custom_prompt": "x",
            "system_prompt": "",
        },
        "HearthPromptEnhancer": {"style": "Concise", "language": "English", "instruction": ""},
        "HearthChat": {"system_prompt": "", "conversation": "", "reset": False, "max_turns": 9},
        "HearthBatchCaption": {
            "preset_prompt": "Describe",
            "custom_prompt": "x",
            "prefix": "",
            "suffix": "",
            "existing": "skip",
            "recursive": False,
        },
    }
    asked = {"model": FAKE, "max_tokens": 512, "temperature": 0.0, "seed": next(_seeds)}
    return {"class_type": kind, "inputs": {**asked, "keep_loaded": True, **usual[kind], **inputs}}


def test_a_list_of_answers_runs_what_follows_for_each(comfy: Any, service: Any) -> None:
    node = asking("HearthQwenVLAdvanced", image=["1", 0], batch_mode="one answer each")
    follows = {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}}
    outcome = comfy.run({"1": picture(16, 8, count=3), "2": node, "3": follows, "4": preview("2")})
    assert outcome.status == "success", outcome.error
    answers = outcome.outputs["3"]["text"]
    assert len(answers) == 3 and all("image 1: u8 [8, 16, 3]" in answer for answer in answers)
    assert outcome.text("4") == "\n\n".join(answers)


def test_a_mask_shows_the_model_what_it_covers(comfy: Any, service: Any) -> None:
    mask = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 16, "height": 8}}
    node = asking("HearthQwenVLAdvanced", image=["1", 0], mask=["2", 0])
    outcome = comfy.run({"1": picture(16, 8), "2": mask, "3": node, "4": preview("3")})
    assert outcome.status == "success", outcome.error
    assert "image 1: u8 [8, 16, 3]" in outcome.text("4")


def test_statistics_and_mask_are_outputs_of_their_own(comfy: Any, service: Any) -> None:
    node = asking("HearthQwenVLAdvanced", custom_prompt="!count 9", image=["1", 0])
    look = {"class_type": "MaskToImage", "inputs": {"mask": ["2", 5]}}
    stats, fields = (
        {"class_type": "PreviewAny", "inputs": {"source": ["2", slot]}} for slot in (7, 8)
    )
    shown = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    workflow = {"1": picture(16, 8), "2": node, "3": look, "4": shown, "5": stats, "6": fields}
    outcome = comfy.run(workflow)
    assert outcome.status == "success", outcome.error
    assert "prefill" in outcome.text("5")
    (said,) = json.loads(outcome.text("6"))
    assert len(said["token_us"]) == said["receipt"]["generated_tokens"] > 9


def test_a_model_node_serves_several_others(comfy: Any, service: Any) -> None:
    model = {"class_type": "HearthModel", "inputs": {"model": FAKE, "keep_loaded": True}}
    first = asking("HearthQwenVLAdvanced", llm=["0", 0], model="ember", custom_prompt="one")
    second = asking("HearthPromptEnhancer", llm=["0", 0], model="ember", prompt="two")
    outcome = comfy.run({"0": model, "1": first, "2": second, "3": preview("1"), "4": preview("2")})
    assert outcome.status == "success", outcome.error
    assert outcome.text("3") == "one" and outcome.text("4").endswith("two")


def test_a_conversation_goes_on_by_sockets_and_by_name(comfy: Any, service: Any) -> None:
    first = asking("HearthChat", message="one", image=["0", 0])
    second = asking("HearthChat", message="two", history=["1", 1])
    transcript = {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}}
    outcome = comfy.run({"0": picture(16, 8), "1": first, "2": second, "3": transcript})
    assert outcome.status == "success", outcome.error
    assert outcome.text("3").startswith("You: [picture] one\n\nModel: ")
    assert "\n\nYou: two\n\nModel: " in outcome.text("3")
    node = asking("HearthChat", message="again", conversation=f"run {next(_seeds)}")
    turns = [comfy.run({"1": node}).text("1").count("You: ") for _ in range(3)]
    assert turns == [1, 2, 3]


def test_a_folder_is_captioned_and_the_next_run_does_the_rest(
    comfy: Any, service: Any, tmp_path: Path
) -> None:
    for index in range(10):
        Image.new("RGB", (8 + index, 8)).save(tmp_path / f"p{index}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    node = asking("HearthBatchCaption", folder=str(tmp_path), limit=4, prefix="{name}: ")
    outcome = comfy.run({"1": node})
    assert outcome.status == "success", outcome.error
    assert "3 captioned" in outcome.text("1") and "broken.jpg" in outcome.text("1")
    node = asking("HearthBatchCaption", folder=str(tmp_path), prefix="{name}: ")
    captions = {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}}
    outcome = comfy.run({"1": node, "2": captions})
    assert "7 captioned, 3 had a text already" in outcome.text("1")
    texts = [(tmp_path / f"p{index}.txt").read_text() for index in range(10)]
    assert list(outcome.outputs["2"]["text"]) == texts
    for index, text in enumerate(texts):
        assert text.startswith(f"p{index}: ") and f"u8 [8, {8 + index}, 3]" in text


def test_a_folder_is_left_with_whole_texts_when_the_user_cancels(
    comfy: Any, service: Any, tmp_path: Path
) -> None:
    for index in range(40):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"p{index}.png")
    node = asking(
        "HearthBatchCaption", folder=str(tmp_path), custom_prompt="!count 20 !wait step 10"
    )
    outcome = comfy.run({"1": node}, interrupt_after=1.0)
    assert outcome.status == "interrupted"
    texts = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert len(texts) < 40 and all(text.endswith(" 20") for text in texts)
    assert not list(tmp_path.glob(".*"))


def test_unload_takes_a_model_out_of_memory(comfy: Any, service: Any) -> None:
    services.make_fake_model(comfy.base / "models/LLM/leaving", prefix="leaving")
    node = asking("HearthQwenVLAdvanced", model="LLM/leaving")
    unload = {"class_type": "HearthUnload", "inputs": {"model": "LLM/leaving", "trigger": ["1", 0]}}
    outcome = comfy.run({"1": node, "2": unload, "3": preview("2")})
    assert outcome.status == "success", outcome.error
    assert outcome.text("2") == "LLM/leaving left memory."
    assert outcome.text("3") == "leaving x"


def drawn_pictures(folder: Path) -> None:
    """What the example workflows look for in ComfyUI's input folder: shapes that ember knows."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, colour in (("red", (214, 40, 40)), ("blue", (40, 75, 218))):
        image = Image.new("RGB", (160, 160), (246, 246, 246))
        image.paste(colour, (52, 52, 108, 108))
        image.save(folder / "pictures" / f"{name}.png")
        image.save(folder / "example.png")


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.json")))
def test_an_example_workflow_runs(comfy: Any, service: Any, name: str) -> None:
    drawn_pictures(comfy.base / "input")
    workflow = json.loads((EXAMPLES / f"{name}.json").read_text())
    for node in workflow.values():
        if "seed" in node["inputs"]:
            node["inputs"]["seed"] = next(_seeds)
    outcome = comfy.run(workflow)
    if outcome.error_type == "UnknownModel" or "Families built in: fake." in outcome.error:
        pytest.skip("this hearthd publishes no ember, or is built without torch")
    assert outcome.status == "success", outcome.error
    shown = [text for one in outcome.outputs.values() for text in one.get("text", ())]
    assert any(shown)


def test_the_example_folder_is_captioned_with_what_is_drawn(comfy: Any, service: Any) -> None:
    folder = comfy.base / "input/pictures"
    drawn_pictures(comfy.base / "input")
    for text in folder.glob("*.txt"):
        text.unlink()
    workflow = json.loads((EXAMPLES / "batch_caption.json").read_text())
    outcome = comfy.run(workflow)
    if outcome.error_type == "UnknownModel" or "Families built in: fake." in outcome.error:
        pytest.skip("this hearthd publishes no ember, or is built without torch")
    assert outcome.status == "success", outcome.error
    for colour in ("red", "blue"):
        assert f"{colour} square" in (folder / f"{colour}.txt").read_text()


def test_tokens_are_counted_without_asking(comfy: Any, service: Any) -> None:
    node = {
        "class_type": "HearthTokenEstimate",
        "inputs": {
            "model": "ember",
            "preset_prompt": "Describe",
            "custom_prompt": "",
            "system_prompt": "",
            "max_tokens": 64,
            "image": ["1", 0],
        },
    }
    prompt, fits = ({"class_type": "PreviewAny", "inputs": {"source": ["2", n]}} for n in (0, 3))
    outcome = comfy.run({"1": picture(160, 160), "2": node, "3": prompt, "4": fits})
    if outcome.error_type == "UnknownModel" or "Families built in: fake." in outcome.error:
        pytest.skip("this hearthd publishes no ember, or is built without torch")
    assert outcome.status == "success", outcome.error
    asked = asking("HearthQwenVLAdvanced", model="ember", image=["1", 0], custom_prompt="")
    stats = {"class_type": "PreviewAny", "inputs": {"source": ["2", 8]}}
    answer = comfy.run({"1": picture(160, 160), "2": asked, "3": stats})
    (said,) = json.loads(answer.text("3"))
    assert int(outcome.text("3")) == said["receipt"]["prompt_tokens"]
    assert outcome.text("4") == "True" and "160 x 160, seen as " in outcome.text("2")
