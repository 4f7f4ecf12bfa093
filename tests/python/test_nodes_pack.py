"""How ComfyUI finds the nodes, and what loading them costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

from cases import caption  # noqa: E402
from fake_comfy import FakeComfy  # noqa: E402

from hearth import nodes  # noqa: E402

FORMS = {"V3": "0", "V1": "1"}
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
NODES = {node.node_id for node in nodes.all_nodes()}


def comfy_of(tmp_path: Path, form: str = "V3", version: str = "0.33") -> FakeComfy:
    env = {"HEARTH_FORCE_V1": FORMS[form], "HEARTH_SOCKET": str(tmp_path / "nobody.sock")}
    return FakeComfy(version, ROOT, tmp_path, env)


def run_python(program: str, *arguments: str) -> str:
    command = [sys.executable, *arguments, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", ["0.3.64", "0.33"])
def test_the_pack_offers_exactly_one_form(tmp_path: Path, form: str, version: str) -> None:
    with comfy_of(tmp_path, form, version) as comfy:
        offered = {
            name
            for name in ("NODE_CLASS_MAPPINGS", "comfy_entrypoint")
            if hasattr(comfy.module, name)
        }
        assert offered == {"V3": {"comfy_entrypoint"}, "V1": {"NODE_CLASS_MAPPINGS"}}[form]
        assert set(comfy.nodes) >= NODES


def test_both_forms_declare_the_same_inputs(tmp_path: Path) -> None:
    declared: dict[str, Any] = {}
    for form in FORMS:
        with comfy_of(tmp_path, form) as comfy:
            declared[form] = {node: comfy.inputs_of(node) for node in NODES}
    for node in NODES:
        one, other = declared["V1"][node], declared["V3"][node]
        assert list(one) == list(other)
        for name, (kind, options) in one.items():
            choices = {"options": kind} if isinstance(kind, list) else {}
            assert {**options, **choices} == other[name][1]
            assert (kind == other[name][0]) or choices


def test_an_old_comfyui_is_not_given_arguments_it_does_not_know(tmp_path: Path) -> None:
    with comfy_of(tmp_path, version="0.3.64") as comfy:
        assert "advanced" not in comfy.inputs_of("HearthQwenVL")["top_k"][1]
    with comfy_of(tmp_path, version="0.33") as comfy:
        assert comfy.inputs_of("HearthQwenVL")["top_k"][1]["advanced"] is True


def test_every_node_and_input_explains_itself(tmp_path: Path) -> None:
    with comfy_of(tmp_path, "V1") as comfy:
        for node in NODES:
            cls = comfy.nodes[node]
            assert cls.DESCRIPTION and cls.CATEGORY.startswith("Hearth/")  # type: ignore[attr-defined]
            assert all(cls.OUTPUT_TOOLTIPS)  # type: ignore[attr-defined]
            for name, (_, options) in comfy.inputs_of(node).items():
                assert options["tooltip"], name


def test_loading_leaves_python_paths_and_top_level_names_alone(tmp_path: Path) -> None:
    paths, names = list(sys.path), {name for name in sys.modules if "/" not in name}
    with comfy_of(tmp_path) as comfy:
        added = {name for name in sys.modules if "/" not in name} - names
        assert sys.path == paths
        assert not added - comfy.world.names
        assert comfy.module.WEB_DIRECTORY


def test_loading_touches_neither_torch_nor_sockets_nor_the_service() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "client_py")!r})
import hearth.nodes
print(sorted(hearth.nodes.entry_points()), [n.node_id for n in hearth.nodes.all_nodes()])
print([name for name in ("torch", "numpy", "msgpack", "socket", "asyncio") if name in sys.modules])
"""
    entry_points, loaded = run_python(program, "-S").splitlines()
    assert "NODE_CLASS_MAPPINGS" in entry_points
    assert all(node in entry_points for node in NODES)
    assert loaded == "[]"


def test_loading_takes_little_time() -> None:
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "client_py")!r})
began = time.perf_counter()
import hearth.nodes
hearth.nodes.entry_points()
print(time.perf_counter() - began)
"""
    run_python(program)  # compiles
    fastest = min(float(run_python(program)) for _ in range(3))
    assert fastest < 0.5  # ten times the target


def test_scripts_pay_nothing_for_the_nodes() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "client_py")!r})
import hearth
print([name for name in sys.modules if name.startswith("hearth.")])
"""
    assert run_python(program).strip() == "[]"


def test_a_node_that_cannot_be_imported_leaves_the_others(
    tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    with comfy_of(tmp_path) as comfy:
        pack = sys.modules[f"{comfy.module.__name__}.client_py.hearth.nodes"]
        (tmp_path / "extra").mkdir()
        (tmp_path / "extra" / "broken.py").write_text("1 / 0")
        monkeypatch.setattr(pack, "__path__", [*pack.__path__, str(tmp_path / "extra")])
        assert {node.node_id for node in pack.all_nodes()} == NODES
    assert "broken.py" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with comfy_of(tmp_path) as comfy:
        outcome = comfy.run({"1": caption("x", model="ember")})
    assert outcome.status == "error"
    assert "-m pip install msgpack" in outcome.error


def ui_workflows() -> list[Path]:
    return sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.mark.parametrize("path", ui_workflows(), ids=lambda path: path.stem)
def test_an_example_is_the_same_workflow_in_both_of_comfyuis_formats(
    tmp_path: Path, path: Path
) -> None:
    api = json.loads((path.parent / "api" / path.name).read_text())
    with comfy_of(tmp_path) as comfy:
        shown = as_api(json.loads(path.read_text()), comfy)
    for node in api.values():
        del node["_meta"]
    assert shown == api


def as_api(ui: dict[str, Any], comfy: FakeComfy) -> dict[str, Any]:
    """What the browser makes of a saved workflow when it is queued."""
    links = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    made = {}
    for node in ui["nodes"]:
        values = iter(node["widgets_values"])
        inputs: dict[str, Any] = {}
        for name, (kind, options) in comfy.inputs_of(node["type"]).items():
            if not isinstance(kind, list) and kind not in WIDGETS:
                continue
            inputs[name] = next(values)
            if options.get("control_after_generate"):
                assert next(values) in ("fixed", "increment", "decrement", "randomize")
            if options.get("image_upload"):
                assert next(values) == "image"
        assert not list(values), node["type"]
        for socket in node["inputs"]:
            if socket["link"] is not None:
                inputs[socket["name"]] = links[socket["link"]]
        made[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return made


@pytest.mark.parametrize("path", ui_workflows(), ids=lambda path: path.stem)
def test_an_example_is_accepted(tmp_path: Path, path: Path) -> None:
    with comfy_of(tmp_path) as comfy:
        (tmp_path / "input" / "example.png").touch()
        workflow = json.loads((path.parent / "api" / path.name).read_text())
        assert comfy.check(workflow) == ""


def test_every_node_has_a_help_page_that_names_its_inputs(tmp_path: Path) -> None:
    with comfy_of(tmp_path) as comfy:
        folder = ROOT / comfy.module.WEB_DIRECTORY / "docs"
        assert {page.stem for page in folder.iterdir()} == NODES
        for node in NODES:
            page = (folder / f"{node}.md").read_text()
            named = set(re.findall(r"\w+", " ".join(re.findall(r"\*\*(.+?)\*\*", page))))
            assert set(comfy.inputs_of(node)) <= named


@pytest.mark.parametrize("program", ["node_pages.py", "node_examples.py"])
def test_what_is_made_from_the_node_tables_is_up_to_date(program: str) -> None:
    command = [sys.executable, str(ROOT / "client_py" / program), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout) == (0, "")
