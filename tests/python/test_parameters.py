"""docs/parameters.md, row by row: each parameter of the nodes that people come from changes what is
asked of the service, or is refused in words; what decides words changes the model's words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import server as scripted
from hearth import client, messages
from hearth.migrate import PEERS

torch = pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy"), str(TESTS.parent / "client_py")]

import hearthd_for_test as services  # noqa: E402
from cases import picture  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402

import parameter_page as table  # noqa: E402
from test_migrate import ADVANCED, AILAB, ENHANCER, SCG  # noqa: E402

ONE, TWO = "Qwen3-VL-2B-Instruct", "Qwen3-VL-4B-Instruct"
SMALL, LARGE, SILENCE = ["1", 0], ["2", 0], ["3", 0]
NO_USE = {"use_torch_compile": False, "device": "auto"}
BASE: dict[str, dict[str, Any]] = {
    "AILab_QwenVL": {**AILAB, "model_name": ONE, "image": SMALL, "video": LARGE},
    "AILab_QwenVL_Advanced": {
        **ADVANCED,
        **NO_USE,
        "num_beams": 1,
        "model_name": ONE,
        "image": SMALL,
        "video": LARGE,
    },
    "AILab_QwenVL_PromptEnhancer": {**ENHANCER, "model_name": ONE},
    "QwenVL": {**SCG, "model": ONE, "do_sample": True, "image1": SMALL},
    "Qwen": {
        **{name: SCG[name] for name in table.THEIRS["Qwen"] if name in SCG},
        "model": ONE,
        "do_sample": True,
        "prompt": "Hello",
    },
    "TextGenerate": {
        "clip": ONE,
        "prompt": "What is this?",
        "image": SMALL,
        "max_length": 64,
        "sampling_mode": "on",
        "temperature": 0.7,
        "top_k": 64,
        "top_p": 0.95,
        "min_p": 0.05,
        "seed": 0,
        "repetition_penalty": 1.05,
        "presence_penalty": 0.0,
    },
}
# Another value for each parameter, and what a user is told where it asks for nothing.
OTHER: dict[str, Any] = {
    **{name: TWO for name in ("model_name", "model", "clip")},
    "quantization": {
        "8-bit (Balanced)": "None (FP16)",
        "4-bit (VRAM-friendly)": "None (FP16)",
        "4bit": "8bit",
    },
    "attention_mode": {"auto": "sdpa", "flash_attention_2": "sdpa", "eager": "sdpa"},
    "preset_prompt": "📖 Short Story",
    "enhancement_style": "📝 Technical Specs",
    **{
        name: "Something else"
        for name in ("custom_prompt", "custom_system_prompt", "prompt_text", "system", "text")
    },
    "prompt": "Something else",
    **{name: 310 for name in ("max_tokens", "max_new_tokens", "max_length")},
    **{name: False for name in ("keep_model_loaded", "do_sample", "use_default_template")},
    **{name: True for name in ("use_torch_compile", "bypass", "thinking")},
    "seed": 12345,
    **{name: LARGE for name in ("image", "image1", "image2", "image3", "image4")},
    "video": SMALL,
    "audio": SILENCE,
    "device": "cpu",
    "temperature": 0.55,
    "top_p": 0.31,
    "top_k": 3,
    "min_p": 0.21,
    "num_beams": 4,
    "repetition_penalty": 1.4,
    "presence_penalty": 0.5,
    "frame_count": 2,
    "sampling_mode": "off",
    "video_path": "/a/video.mp4",
}
FLIPPED = {"keep_model_loaded"}
NESTED = ("temperature", "top_k", "top_p", "min_p", "seed", "repetition_penalty")
NESTED += ("presence_penalty",)
SOUND = {"class_type": "Sound", "inputs": {}}
ROWS = [(node, name) for node in table.THEIRS for name in table.THEIRS[node]]
ROWS += [("TextGenerate", name) for name in table.CORE]
SAID = {"audio": "do not hear", "use_default_template": "use_default_template"}


class Sound:
    """A node that gives sound."""

    RETURN_TYPES, FUNCTION = ("AUDIO",), "give"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def give(self) -> tuple[Any]:
        return ({"waveform": None},)


class World:
    """A ComfyUI and a service that keeps what it was asked."""

    def __init__(self, service: scripted.Server, base: Path) -> None:
        self.service, self.base = service, base

    def asked(self, node: str, inputs: dict[str, Any], caplog: Any) -> tuple[Any, str]:
        """What reached the service, and what a user was told."""
        sources = {"1": picture(32, 16, 3, 0x102030), "2": picture(64, 48, 24), "3": SOUND}
        env = {"HEARTH_SOCKET": self.service.path}
        caplog.clear()
        with FakeComfy("0.33", TESTS.parent, self.base, env) as comfy, caplog.at_level("WARNING"):
            comfy.nodes["Sound"] = Sound
            before = [len(peer.received) for peer in self.service.peers]
            outcome = comfy.run({**sources, **_nodes(node, inputs)})
        frames = []
        for number, peer in enumerate(self.service.peers):
            frames += peer.received[before[number] if number < len(before) else 0 :]
        return [_plain(frame) for frame in frames if _counts(frame)], outcome.error + caplog.text


def _nodes(node: str, inputs: dict[str, Any]) -> dict[str, Any]:
    if node != "TextGenerate":
        return {"9": {"class_type": node, "inputs": inputs}}
    made = dict(inputs)
    model = {"model": made.pop("clip"), "keep_loaded": True}
    clip = {"class_type": "HearthLLMAsCLIP", "inputs": {**model, "precision": "auto"}}
    named = {f"sampling_mode.{n}" if n in NESTED else n: v for n, v in made.items()}
    return {"8": clip, "9": {"class_type": node, "inputs": {"clip": ["8", 0], **named}}}


def _counts(frame: Any) -> bool:
    return isinstance(frame, (messages.OfferModel, messages.Generate, messages.UnloadModel))


def _plain(value: Any) -> Any:
    """Without what differs from run to run: keys, places in shared memory."""
    if isinstance(value, messages.Struct):
        return (type(value).__name__, _plain(value.to_fields()))
    if isinstance(value, dict):
        skipped = ("key", "result_key", "offset", "arena")
        return {name: _plain(one) for name, one in value.items() if name not in skipped}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture
def world(service: scripted.Server, tmp_path: Path) -> World:
    for name in (ONE, TWO):
        services.make_fake_model(tmp_path / "models/LLM" / name)
    return World(service, tmp_path)


def other(node: str, name: str) -> Any:
    value = OTHER[name]
    return value[BASE[node][name]] if isinstance(value, dict) else value


def test_the_page_is_what_the_tables_say() -> None:
    program = TESTS.parent / "client_py/parameter_page.py"
    assert subprocess.run([sys.executable, program, "--check"]).returncode == 0


def test_no_parameter_is_missing() -> None:
    for node, peer in PEERS.items():
        first = next(known for known in table.THEIRS if PEERS[known] is peer)
        assert set(table.THEIRS[first]) == {*peer.widgets[0], *peer.sockets}, node
    assert all(name in OTHER for _, name in ROWS)


@pytest.mark.parametrize("node, name", ROWS, ids=lambda value: str(value))
def test_a_parameter_changes_what_is_asked_or_is_refused(
    world: World, caplog: Any, node: str, name: str
) -> None:
    usual, told = world.asked(node, BASE[node], caplog)
    assert [frame[0] for frame in usual].count("Generate") == 1, told
    value = other(node, name)
    if name in FLIPPED:
        value = not BASE[node][name]
    changed = {**BASE[node], name: value}
    asked, told = world.asked(node, changed, caplog)
    place = table.CORE[name][1] if node == "TextGenerate" else PEERS[node].rules[name].goes_to
    if name == "bypass":
        assert asked == [] and "bypass" in told
    elif name in SAID and node == "TextGenerate":
        assert [frame[0] for frame in asked if frame[0] == "Generate"] == []
        assert SAID[name] in told
    elif name == "video_path" or not place:
        assert _without_offers(asked) == _without_offers(usual)
        assert name in told
    else:
        assert asked != usual
        assert told == ""


def _without_offers(frames: Any) -> Any:
    return [frame for frame in frames if frame[0] != "OfferModel"]


@pytest.mark.parametrize("name, value", [("repetition_penalty", 0.0), ("presence_penalty", 5.0)])
def test_a_value_that_core_allows_and_the_service_does_not_is_refused(
    name: str, value: float, ember: Any
) -> None:
    with pytest.raises(client.HearthError, match=name):
        ember(**{name: value})


@pytest.fixture(scope="module")
def ember(tmp_path_factory: Any) -> Iterator[Any]:
    """Asks the embedded model about a red square, with much chance."""
    if services.hearthd() is None:
        pytest.skip("no hearthd is built; HEARTH_BIN names the folder of one")
    running = services.Service(tmp_path_factory.mktemp("ember") / "hearth.sock")
    running.start()
    canvas = torch.full((1, 160, 160, 3), 0.95)
    canvas[:, 52:108, 52:108] = torch.tensor([0.84, 0.15, 0.16])
    usual = {"temperature": 1.8, "top_k": 0, "top_p": 1.0, "max_tokens": 40, "seed": 7}

    def ask(question: str = "Describe this picture.", **sampling: Any) -> str:
        chat = [{"role": "user", "content": [canvas, question]}]
        with client.connect(running.socket) as service:
            try:
                return str(service.generate("ember", chat, **{**usual, **sampling}).text)
            except client.HearthError as error:
                if error.code in ("unknown_model", "unsupported"):
                    pytest.skip("this hearthd publishes no ember")
                raise

    ask()  # from here on, what the pictures and the words' beginning are is kept
    yield ask
    running.stop()


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_p": 0.05},
        {"min_p": 0.99},
        {"repetition_penalty": 5.0},
        {"presence_penalty": 2.0},
        {"seed": 8},
        {"max_tokens": 3},
        {"question": "How many shapes are there?"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_decides_words_changes_the_models_words(ember: Any, changed: dict[str, Any]) -> None:
    usual = ember()
    assert usual == ember(), "equal questions, equal words"
    assert ember(**changed) != usual
