"""The cases of tests/comfy/cases_others.py in our own small ComfyUI, as 0.3.64 and as 0.33."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]
pytest.register_assert_rewrite("cases_others")

import hearthd_for_test as services  # noqa: E402
from cases import any_service, service  # noqa: E402, F401
from cases_others import *  # noqa: E402, F403
from cases_others import hub  # noqa: E402, F401
from fake_comfy import FakeComfy  # noqa: E402

from hub_server import Hub  # noqa: E402


@pytest.fixture(scope="module", params=["0.3.64", "0.33"])
def comfy(request: Any, hub: Hub, tmp_path_factory: Any) -> Iterator[FakeComfy]:  # noqa: F811
    base = tmp_path_factory.mktemp("comfy")
    services.make_fake_model(base / "models/LLM/fake")
    (base / "models/LLM/Qwen3-VL-2B-Instruct").symlink_to(services.ROOT / "models/ember/weights")
    env = {"HEARTH_SOCKET": str(base / "hearth.sock"), "HF_ENDPOINT": hub.url}
    with FakeComfy(request.param, services.ROOT, base, env) as running:
        yield running
