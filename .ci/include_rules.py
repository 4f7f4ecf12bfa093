#!/usr/bin/env python3
"""Who may include whom. Prints every #include that breaks a rule and exits with 1.

.ci/include_rules.py              check the repository
.ci/include_rules.py --self-test  show that every rule catches what it forbids
"""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = re.findall(r"^FAMILY\((\w+)\)", (ROOT / "models/families.def").read_text(), re.M)
FAMILY_SOURCES = [
    "models/language/model.cpp",
    "models/qwen3_tower/*.cpp",
    *(f"models/{family}/*.cpp" for family in FAMILIES),
]
TESTS = ["tests/*", "bench/*"]
TORCH = r"(torch|ATen|c10|caffe2)/|models/torch/"

# (rule, headers it speaks of, files it holds for, files that are exempt); `*` crosses folders.
RULES = [
    ("torch stays below models/torch and in the families' .cpp", TORCH, ["*"],
     ["models/torch/*", *FAMILY_SOURCES, "tests/unit/engine_*", "bench/*"]),
    ("Asio stays in daemon/broker/net and the worker's link", r"boost/asio", ["*"],
     ["daemon/broker/net/*", "daemon/worker/link.*", *TESTS]),
    ("Boost.Interprocess stays in shm/segment and the arenas", r"boost/interprocess", ["*"],
     ["shm/segment.*", "shm/arena.*", "shm/out_arena.*"]),
    ("msgpack stays in shm/contract", r"msgpack", ["*"], ["shm/contract/*"]),
    ("the codec stays in shm/contract", r"shm/contract/(codec|fields|rule)\.h", ["*"],
     ["shm/contract/*", *TESTS]),
    ("spdlog stays in shm/base/log.cpp", r"spdlog/", ["*"], ["shm/base/log.cpp"]),
    ("toml++ stays in daemon/config/toml_file.cpp", r"toml\+\+/", ["*"],
     ["daemon/config/toml_file.cpp"]),
    ("daemon/config knows no process", r"daemon/(broker|worker)/", ["daemon/config/*"], []),
    ("shm/ stands below everything", r"(models|daemon|tests|bench)/", ["shm/*"], []),
    ("models/ knows no daemon", r"(daemon|tests|bench)/", ["models/*"], []),
    ("of models/ the daemon knows model.h only", r"models/(?!model\.h)", ["daemon/*"], []),
    ("broker and worker share only shm/", r"daemon/worker/", ["daemon/broker/*"], []),
    ("broker and worker share only shm/", r"daemon/broker/", ["daemon/worker/*"], []),
    *[(f"the family {family} is nobody else's business", rf"models/{family}/", ["models/*"],
       [f"models/{family}/*"]) for family in FAMILIES],
]  # fmt: skip

# Each rule's number is proved by one line that it must catch and one that it must let pass.
EXAMPLES = [
    ("models/decoder/plan.h", "ATen/Tensor.h", "models/torch/linear.h", "ATen/Tensor.h"),
    ("daemon/broker/core.cpp", "boost/asio.hpp", "daemon/broker/net/s.cpp", "boost/asio.hpp"),
    ("shm/frame.h", "boost/interprocess/x.hpp", "shm/arena.cpp", "boost/interprocess/x.hpp"),
    ("daemon/broker/core.cpp", "msgpack.hpp", "shm/contract/codec.cpp", "msgpack/pack.hpp"),
    ("shm/tensor.h", "shm/contract/codec.h", "shm/tensor.h", "shm/contract/messages.h"),
    ("shm/base/log.h", "spdlog/spdlog.h", "shm/base/log.cpp", "spdlog/spdlog.h"),
    ("daemon/config/table.h", "toml++/toml.h", "daemon/config/toml_file.cpp", "toml++/toml.h"),
    ("daemon/config/table.h", "daemon/broker/core.h", "daemon/broker/core.h",
     "daemon/config/table.h"),
    ("shm/tensor.h", "models/model.h", "shm/tensor.h", "shm/frame.h"),
    ("models/model.h", "daemon/worker/link.h", "models/model.h", "shm/tensor.h"),
    ("daemon/worker/job.h", "models/generate/batch.h", "daemon/worker/job.h", "models/model.h"),
    ("daemon/broker/core.h", "daemon/worker/job.h", "daemon/broker/core.h", "daemon/broker/q.h"),
    ("daemon/worker/job.h", "daemon/broker/core.h", "daemon/worker/job.h", "daemon/worker/l.h"),
    *[("models/text/x.cpp", f"models/{f}/x.h", f"models/{f}/y.cpp", f"models/{f}/x.h")
      for f in FAMILIES],
]  # fmt: skip


def matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def broken(path: str, header: str) -> list[str]:
    return [
        rule
        for rule, headers, held, exempt in RULES
        if re.match(headers, header) and matches(path, held) and not matches(path, exempt)
    ]


def violations() -> list[str]:
    found = []
    for folder in ("shm", "models", "daemon", "tests", "bench"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix not in {".h", ".cpp", ".cu", ".cuh"} or "must_not_compile" in file.parts:
                continue
            path = file.relative_to(ROOT).as_posix()
            for header in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', file.read_text(), re.M):
                found += [f"{path} includes {header}: {rule}" for rule in broken(path, header)]
    return found


def self_test() -> list[str]:
    found = []
    for rule, (bad_path, bad, good_path, good) in zip(RULES, EXAMPLES, strict=True):
        if rule[0] not in broken(bad_path, bad):
            found.append(f"not caught: {bad_path} includes {bad}: {rule[0]}")
        wrong = broken(good_path, good)
        found += [f"wrongly caught: {good_path} includes {good}: {rule}" for rule in wrong]
    return found


if __name__ == "__main__":
    problems = self_test() + ([] if "--self-test" in sys.argv else violations())
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(1 if problems else 0)
