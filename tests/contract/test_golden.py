"""The golden bytes, read and written by Python, and the generator that made them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from hearth import messages

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "shm/contract/golden"
CLASSES = list(messages.BY_TYPE.values())
SEED = 20240611


def readable(value: Any) -> Any:
    """As the JSON files write it: binary in hexadecimal."""
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def golden(message: type[messages.Struct]) -> tuple[bytes, Any]:
    text = (GOLDEN / f"{message.NAME}.json").read_text(encoding="utf-8")
    return (GOLDEN / f"{message.NAME}.bin").read_bytes(), json.loads(text)


def test_every_message_has_golden_bytes() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {message.NAME for message in CLASSES}


@pytest.mark.parametrize("message", CLASSES, ids=lambda message: message.NAME)
def test_golden_bytes_decode_to_the_json_and_encode_to_themselves(
    message: type[messages.Struct],
) -> None:
    body, expected = golden(message)
    decoded = message.from_fields(msgpack.unpackb(body))
    assert readable(decoded.to_fields()) == expected
    assert msgpack.packb(decoded.to_fields()) == body


@pytest.mark.parametrize("message", CLASSES, ids=lambda message: message.NAME)
def test_no_golden_field_has_its_default(message: type[messages.Struct]) -> None:
    body, _ = golden(message)
    fields = msgpack.unpackb(body)
    assert set(fields) == set(message.__slots__)
    needed = {name: fields[name] for name in message.REQUIRED}
    plain = message.from_fields(needed).to_fields()
    same = [n for n in fields if n not in message.REQUIRED and plain.get(n) == fields[n]]
    assert [name for name in same if name != "direction"] == [], "direction has one choice only"


@pytest.mark.parametrize("message", CLASSES, ids=lambda message: message.NAME)
def test_a_missing_required_field_is_named(message: type[messages.Struct]) -> None:
    body, _ = golden(message)
    for name in message.REQUIRED:
        fields = msgpack.unpackb(body)
        del fields[name]
        with pytest.raises(ValueError, match=f"{message.NAME}: missing {name}"):
            message.from_fields(fields)


def test_a_struct_that_is_no_map_is_refused() -> None:
    with pytest.raises(ValueError, match="receipt: expected a map, got int"):
        messages.Generated.from_fields(
            {
                "text": "",
                "token_ids": b"",
                "prompt_token_ids": b"",
                "token_us": b"",
                "stop_reason": "max_tokens",
                "receipt": 3,
            }
        )


def test_keys_of_a_newer_service_are_ignored() -> None:
    assert messages.Goaway.from_fields({"drain_ms": 5, "later": [1]}).drain_ms == 5


def test_absent_optional_fields_are_left_out() -> None:
    assert "tensor" not in messages.ContentPart(kind="text", text="x").to_fields()


def test_defaults_are_not_shared_between_messages() -> None:
    first = messages.Hello(oldest=1, newest=1)
    first.features.append("x")
    assert messages.Hello(oldest=1, newest=1).features == []


def random_tensor(rng: random.Random) -> messages.Tensor:
    shape = [rng.randrange(0, 5000) for _ in range(rng.randrange(0, 8))]
    return messages.Tensor(
        arena=rng.getrandbits(32),
        offset=rng.getrandbits(rng.randrange(1, 65)),
        nbytes=rng.getrandbits(rng.randrange(1, 65)),
        dtype=rng.choice(["u8", "bf16"]),
        shape=shape,
    )


def random_part(rng: random.Random) -> messages.ContentPart:
    text = "".join(rng.choice("aé中😀\n") for _ in range(rng.randrange(0, 400)))
    if rng.random() < 0.5:
        return messages.ContentPart(kind="text", text=text)
    return messages.ContentPart(kind="video", tensor=random_tensor(rng), fps=rng.random() * 60)


def test_decoding_what_was_encoded_gives_the_same_message() -> None:
    rng = random.Random(SEED)
    for round_ in range(300):
        turns = [
            messages.ChatMessage(role="user", content=[random_part(rng) for _ in range(3)])
            for _ in range(rng.randrange(0, 4))
        ]
        sent = messages.Generate(
            model="m", messages=turns, seed=rng.getrandbits(64), top_p=rng.random()
        )
        body = msgpack.packb(sent.to_fields())
        back = messages.Generate.from_fields(msgpack.unpackb(body))
        assert back == sent, f"seed {SEED}, round {round_}"


def test_widgets_are_what_the_contract_says() -> None:
    seed = messages.widget("generate", "seed")
    assert (seed["default"], seed["min"], seed["max"], seed["step"]) == (
        0,
        0,
        2**64 - 1,
        1,
    )
    temperature = messages.widget(messages.Generate, "temperature")
    sent = messages.Generate(model="m", messages=[])
    assert temperature["default"] == sent.temperature
    assert temperature["step"] == 0.05
    assert temperature["tooltip"]


def test_what_is_committed_is_what_the_generator_writes() -> None:
    check = [sys.executable, str(ROOT / "shm/contract/generate.py"), "--check"]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_messages_is_quick() -> None:
    """Ten times the aim of 10 ms: this catches an import of something heavy, not noise."""
    path = str(ROOT / "client_py/hearth/messages.py")
    code = (
        "import importlib.util as u, time; t = time.perf_counter();"
        f"s = u.spec_from_file_location('messages', {path!r});"
        "s.loader.exec_module(u.module_from_spec(s)); print(time.perf_counter() - t)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert float(run.stdout) < 0.1, run.stdout + run.stderr
