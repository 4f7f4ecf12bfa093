"""What meets other programs inside real ComfyUIs: the hub, other packs' workflows, core's nodes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "python")]
CHECKOUTS = [Path(path) for path in os.environ["COMFYUI_DIR"].split(os.pathsep)]
pytest.importorskip("aiohttp")
pytest.importorskip("huggingface_hub")
pytest.register_assert_rewrite("cases_others")

import hearthd_for_test as services  # noqa: E402
from cases import any_service, service  # noqa: E402, F401
from cases_others import *  # noqa: E402, F403
from cases_others import hub  # noqa: E402, F401
from real_comfy import RealComfy  # noqa: E402

from hearth import nodes  # noqa: E402
from hearth.migrate import PEERS  # noqa: E402
from hub_server import Hub  # noqa: E402


@pytest.fixture(scope="module", params=CHECKOUTS, ids=lambda path: path.name)
def comfy(request: Any, hub: Hub, tmp_path_factory: Any) -> Iterator[RealComfy]:  # noqa: F811
    base = tmp_path_factory.mktemp("comfy")
    services.make_fake_model(base / "models/LLM/fake")
    ember = services.ROOT / "models/ember/weights"
    (base / "models/LLM/Qwen3-VL-2B-Instruct").symlink_to(ember)
    env = {
        "HEARTH_SOCKET": str(base / "hearth.sock"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
    }
    with RealComfy(request.param, services.ROOT, base, env) as running:
        yield running


def test_the_browser_is_told_what_takes_the_place_of_what(comfy: RealComfy) -> None:
    if comfy.version.startswith("0.3."):
        pytest.skip("this ComfyUI replaces no nodes")
    told = json.loads(comfy.page("/node_replacements"))
    ours = {old: entries[0]["new_node_id"] for old, entries in told.items() if old in PEERS}
    assert ours == {old: peer.target for old, peer in PEERS.items()}
    for old in ours:
        known = set(comfy.inputs_of(ours[old]))
        assert {entry["new_id"] for entry in told[old][0]["input_mapping"]} <= known


def test_object_info_is_what_the_parameters_page_is_made_from(comfy: RealComfy) -> None:
    for node in nodes.all_nodes():
        shown = comfy.inputs_of(node.node_id)
        assert set(shown) == {one.name for one in node.inputs}
        for one in node.inputs:
            options = shown[one.name][1]
            for key in ("default", "min", "max"):
                assert options.get(key) == one.options.get(key), (node.node_id, one.name)
