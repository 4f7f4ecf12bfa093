"""The cases of tests/comfy in our own small ComfyUI, as 0.3.64 and as 0.33, V1 and V3."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]
pytest.register_assert_rewrite("cases", "cases_pack", "cases_speed")

import hearthd_for_test as services  # noqa: E402
from cases import *  # noqa: E402, F403
from cases_pack import *  # noqa: E402, F403
from cases_speed import *  # noqa: E402, F403
from fake_comfy import FakeComfy  # noqa: E402


@pytest.fixture(
    scope="module",
    params=[("0.3.64", "V3"), ("0.3.64", "V1"), ("0.33", "V3"), ("0.33", "V1")],
    ids=lambda param: "-".join(param),
)
def comfy(request: Any, tmp_path_factory: Any) -> Iterator[FakeComfy]:
    version, form = request.param
    base = tmp_path_factory.mktemp("comfy")
    services.make_fake_model(base / "models/LLM/fake")
    env = {"HEARTH_SOCKET": str(base / "hearth.sock"), "HEARTH_FORCE_V1": str(int(form == "V1"))}
    with FakeComfy(version, services.ROOT, base, env) as running:
        yield running
