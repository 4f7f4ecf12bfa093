"""The cases of cases.py and cases_speed.py in real ComfyUIs.

COMFYUI_DIR names their checkouts, separated as in PATH.

COMFYUI_PYTHON is the Python that has their requirements (default: the one that runs the tests).
Without COMFYUI_DIR this file is not collected, and test_comfyui_dir.py says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
CHECKOUTS = [Path(path) for path in os.environ["COMFYUI_DIR"].split(os.pathsep)]
pytest.importorskip("aiohttp")
pytest.register_assert_rewrite("cases", "cases_pack", "cases_speed")

import hearthd_for_test as services  # noqa: E402
from cases import *  # noqa: E402, F403
from cases import caption, picture, wait_until  # noqa: E402
from cases_pack import *  # noqa: E402, F403
from cases_speed import *  # noqa: E402, F403
from cases_speed import states_of  # noqa: E402
from real_comfy import RealComfy  # noqa: E402

from hearth import client, nodes  # noqa: E402

NODES = sorted(node.node_id for node in nodes.all_nodes())


@pytest.fixture(
    scope="module",
    params=[(checkout, form) for checkout in CHECKOUTS for form in ("V3", "V1")],
    ids=lambda param: f"{param[0].name}-{param[1]}",
)
def comfy(request: Any, tmp_path_factory: Any) -> Iterator[RealComfy]:
    checkout, form = request.param
    base = tmp_path_factory.mktemp("comfy")
    services.make_fake_model(base / "models/LLM/fake")
    env = {
        "HEARTH_SOCKET": str(base / "hearth.sock"),
        "HEARTH_FORCE_V1": str(int(form == "V1")),
        "HEARTH_FREE_MEMORY": "always",
    }
    with RealComfy(checkout, services.ROOT, base, env) as running:
        yield running


def test_comfyui_serves_the_status_page(comfy: RealComfy, service: Any) -> None:
    assert "hearth/page.js" in comfy.page("/hearth")
    assert "hearth/status.json" in comfy.page("/hearth/page.js")
    state = json.loads(comfy.page("/hearth/status.json"))
    assert state["server"].startswith("hearthd") and state["clients"]
    assert "registerExtension" in comfy.page("/extensions/hearth/hearth.js")


def test_the_pack_loads_without_a_complaint(comfy: RealComfy) -> None:
    assert "IMPORT FAILED" not in comfy.start_log
    assert "Traceback" not in comfy.start_log


def test_help_pages_and_example_workflows_are_served(comfy: RealComfy) -> None:
    for node in NODES:
        assert comfy.page(f"/extensions/hearth/docs/{node}.md").startswith("# ")
    templates = json.loads(comfy.page("/workflow_templates"))["hearth"]
    shipped = (services.ROOT / "example_workflows").glob("*.json")
    assert sorted(templates) == sorted(path.stem for path in shipped)
    for name in templates:
        page = comfy.page(f"/api/workflow_templates/hearth/{name}.json")
        assert json.loads(page)["nodes"]
        assert (services.ROOT / "example_workflows" / f"{name}.jpg").is_file()


def test_translations_are_served(comfy: RealComfy) -> None:
    defined = json.loads(comfy.page("/i18n"))["en"]["nodeDefs"]
    assert set(NODES) <= set(defined)
    for node in NODES:
        assert set(defined[node]["inputs"]) == set(comfy.inputs_of(node))


def test_the_button_that_unloads_models_reaches_the_service(comfy: RealComfy, service: Any) -> None:
    assert comfy.run({"1": caption("before")}).text("1") == "before"
    ((state, holders),) = states_of(service, "fake")
    assert (state, holders) == ("hot", 1)
    comfy.post("/free", {"unload_models": True})
    wait_until(lambda: states_of(service, "fake") == [("cold", 1)])
    assert comfy.run({"1": caption("after")}).text("1") == "after"


_declared: dict[Path, dict[str, Any]] = {}


def test_both_forms_look_the_same_to_the_browser(comfy: RealComfy) -> None:
    """Compares with the form that was tried before in the same checkout, if one was."""
    mine = {
        node: {name: plain(*given) for name, given in comfy.inputs_of(node).items()}
        for node in NODES
    }
    assert _declared.setdefault(comfy.checkout, mine) == mine


def plain(kind: Any, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An input without what only one form says: where choices stand, and marks for the browser."""
    if isinstance(kind, list):
        kind, options = "COMBO", {**options, "options": kind}
    return kind, {k: v for k, v in options.items() if k not in ("advanced", "multiselect")}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: Any) -> Iterator[tuple[RealComfy, RealComfy, services.Service]]:
    """Two ComfyUIs, of the first and the last checkout, and one service for both."""
    if services.hearthd() is None:
        pytest.skip("no hearthd is built; HEARTH_BIN names the folder of one")
    shared = tmp_path_factory.mktemp("shared")
    services.make_fake_model(shared / "fake")
    one_service = services.Service(shared / "hearth.sock")
    with contextlib.ExitStack() as stack:
        stack.callback(one_service.stop)
        one_service.start()
        running = []
        for checkout in (CHECKOUTS[0], CHECKOUTS[-1]):
            base = tmp_path_factory.mktemp("comfy")
            (base / "models/LLM").mkdir(parents=True)
            (base / "models/LLM/fake").symlink_to(shared / "fake")
            env = {"HEARTH_SOCKET": str(one_service.socket)}
            running.append(stack.enter_context(RealComfy(checkout, services.ROOT, base, env)))
        yield running[0], running[1], one_service


def test_two_comfyuis_share_one_copy_of_a_model(pair: Any) -> None:
    one, other, service = pair
    for comfy in (one, other, one):
        assert comfy.run({"1": caption("hello")}).text("1") == "hello"
    with client.connect(service.socket) as connection:
        (entry,) = [m for m in connection.status().models if m.name == "fake"]
    assert (entry.loads, entry.state) == (1, "hot")


def test_a_killed_comfyui_leaves_nothing_behind(pair: Any) -> None:
    one, other, service = pair
    with client.connect(service.socket) as connection:
        long = {"1": picture(64, 64), "2": caption("!count 500 !wait step 50", ["1", 0])}
        one.queue(long)
        wait_until(lambda: connection.status().running == 1)
        one.kill()
        wait_until(lambda: connection.status().running == 0)
        mine_and_theirs = 2
        wait_until(lambda: len(connection.status().clients) == mine_and_theirs)
        assert other.run({"1": caption("still here")}).text("1") == "still here"
