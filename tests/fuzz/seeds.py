#!/usr/bin/env python3
"""Where fuzzing begins: inputs made of what the repository has anyway.

seeds.py FOLDER    writes FOLDER/<target>/… and FOLDER/json.dict
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "shm/contract/golden"
FIXTURES = sorted((ROOT / "tests/data/qwen3_vl").iterdir())
CONFIGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
)

SMALL_TOKENIZER = {
    "model": {
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3},
        "merges": ["a b"],
        "ignore_merges": True,
    },
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "\\s+|\\w"}},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    },
    "added_tokens": [{"id": 4, "content": "<|x|>", "special": True, "normalized": False}],
}


def types() -> dict[str, int]:
    """Message name to the byte in its frame's header."""
    cases = re.findall(
        r'case (\d+): return "(\w+)"', (ROOT / "shm/contract/messages.cpp").read_text()
    )
    return {name: int(number) for number, name in cases}


def messages() -> Iterator[bytes]:
    for name, number in types().items():
        yield bytes([number]) + (GOLDEN / f"{name}.bin").read_bytes()


def frames() -> Iterator[bytes]:
    def frame(message: bytes) -> bytes:
        return b"HRT1" + struct.pack("<IIBBH", len(message) - 1, 7, message[0], 0, 0) + message[1:]

    everything = [frame(message) for message in messages()]
    yield from everything
    yield everything[0] + everything[5] + everything[20]


def tensors() -> Iterator[bytes]:
    arena = struct.pack("<Q", 1 << 26)
    for bend, dtype, shape in ((7, 7, (3, 4, 5)), (6, 0, (64, 64, 3)), (7, 5, (0, 9)), (6, 8, ())):
        dims = b"".join(struct.pack("<B" if bend & 1 else "<q", dim) for dim in shape)
        yield arena + bytes([bend, dtype, len(shape)]) + dims + struct.pack("<H", 64)
    yield arena + bytes([0, 0, 1]) + struct.pack("<qQQ", 4096, 4096, 4096)


def safetensors() -> Iterator[bytes]:
    def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    two = {
        "a": entry("BF16", [2, 128], 0, 512),
        "model.b": entry("F32", [128], 512, 1024),
        "__metadata__": {"format": "pt"},
    }
    for header in (two, {"a": entry("U8", [0, 3], 0, 0), "b": entry("I64", [128], 0, 1024)}, {}):
        text = json.dumps(header).encode()
        yield b"\1\1\0" + text
        yield b"\0" + struct.pack("<Q", len(text)) + text + bytes(1024)


def configs() -> Iterator[bytes]:
    for folder in FIXTURES:
        weights = 4 if folder.name.startswith("untied") else 0
        for choice, name in enumerate(CONFIGS):
            if (folder / name).exists():
                text = json.dumps(json.loads((folder / name).read_text()), separators=(",", ":"))
                yield bytes([weights + choice]) + text.encode()
    yield b"\3" + b'{"chat_template":[{"name":"default","template":"x"}]}'
    yield b"\0" + b'{"quantization_config":{"quant_method":"awq","bits":4},"big":[1e9,-0.5,null]}'


def tokenizers() -> Iterator[bytes]:
    sample = b"a b<|x|> ab\xff\xc3\xa9"
    small = json.dumps(SMALL_TOKENIZER, separators=(",", ":")).encode()
    yield bytes([len(sample)]) + sample + small
    listed = small.replace(b'["a b"]', b'[["a","b"]]').replace(b"\\\\s+|\\\\w", b" ?\\\\p{L}+")
    yield bytes([len(sample)]) + sample + listed


def chats() -> Iterator[bytes]:
    def part(kind: int, text: bytes) -> bytes:
        return bytes([kind, len(text)]) + text

    user = bytes([0, 2]) + part(2, b"") + part(0, b"What is <|im_end|> here? \xc3\xa9\xff")
    answer = bytes([1, 1]) + part(0, b"A dog.")
    system = bytes([2, 1]) + part(0, b"Be short.")
    picture = bytes([1, 16, 16, 1, 1]) + b"\x10\x20\x30\x40\x50\x60\x70\x80" + b"\1"
    for whole in (b"\0", b"\1"):
        yield whole + bytes([9, 0, 3]) + system + user + answer + picture
        yield whole + bytes([9, 3, 40, 200, 1]) + user + picture
        yield whole + bytes([9, 4, 2]) + b"ab" + bytes([1]) + answer


def grammars() -> Iterator[bytes]:
    choices = bytes(range(0, 160, 4))
    schemas: list[object] = [
        {},
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "maxLength": 3},
                "b": {"type": ["integer", "null"], "minimum": -2, "exclusiveMaximum": 12.5},
                "c": {"$ref": "#/$defs/list"},
            },
            "required": ["a"],
            "additionalProperties": {"enum": ["x", 1.5, None]},
            "$defs": {"list": {"items": {"$ref": "#"}, "minItems": 1, "maxItems": 4}},
        },
        {"oneOf": [{"const": "x"}, {"pattern": "^[a-c]+$", "type": "string"}]},
        {"anyOf": [{"format": "date"}, {"prefixItems": [{"type": "null"}], "items": False}]},
        {"minProperties": 1, "maxProperties": 2, "additionalProperties": {"type": "boolean"}},
    ]
    for number, schema in enumerate(schemas):
        text = json.dumps(schema, separators=(",", ":")).encode()
        yield bytes([number % 2 * 2, len(choices)]) + choices + text
    for pattern in ("(ab|a)*[^b]{2,9}c?", "^\\d{4}-\\w+$|\u00e9.+", "(a?){30}(\\S|\\s)*?b"):
        yield bytes([1, len(choices)]) + choices + pattern.encode()


def settings() -> Iterator[bytes]:
    example = (ROOT / "systemd/hearth.toml").read_text()
    said = [line[1:] for line in example.splitlines() if re.match(r"#(\[|\w+ =)", line)]
    whole = "\n".join(line for line in said if "…" not in line)
    yield from (part.encode() for part in whole.split("\n["))
    yield b'[model."a b"]\npath = "/m"\npin = true\n[quota.uid.7]\nmemory = 2.5\narenas = 0x10\n'
    yield b"server.drain = 1.5\nserver.admins = [1, 2]\nlog = {level = 'debug'}\n"


TARGETS = {
    "message": messages,
    "frame_stream": frames,
    "tensor": tensors,
    "safetensors": safetensors,
    "config": configs,
    "tokenizer": tokenizers,
    "chat": chats,
    "grammar": grammars,
    "settings": settings,
}


def words() -> list[str]:
    """Words of the JSON files we read: a fuzzer does not find them by itself."""
    sources = [*(ROOT / "models").rglob("*.cpp"), *FIXTURES[0].glob("*config.json")]
    found = {
        word for source in sources for word in re.findall(r'"([a-z_]{4,32})"', source.read_text())
    }
    return sorted(found | {"Sequence", "Split", "ByteLevel", "Regex", "Isolated", "NFC", "BF16"})


def write(folder: Path) -> None:
    for target, seeds in TARGETS.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (folder / target / f"seed-{number:03}").write_bytes(seed)
    (folder / "json.dict").write_text("".join(f'"\\"{word}\\""\n' for word in words()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
