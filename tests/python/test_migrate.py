"""Workflows of other packs become ours: values, links, places, and what is said about the rest."""

import copy
import json

import pytest

from hearth import cli
from hearth.migrate import PEERS, convert_graph, convert_prompt, ours, values
from hearth.migrate.peers import Peer

AILAB = {
    "model_name": "Qwen3-VL-4B-Instruct",
    "quantization": "8-bit (Balanced)",
    "attention_mode": "auto",
    "preset_prompt": "🖼️ Tags",
    "custom_prompt": "",
    "max_tokens": 700,
    "keep_model_loaded": False,
    "seed": 42,
}
ADVANCED = {
    **AILAB,
    "attention_mode": "flash_attention_2",
    "use_torch_compile": True,
    "device": "cuda:0",
    "temperature": 0.4,
    "top_p": 0.7,
    "num_beams": 3,
    "repetition_penalty": 1.1,
    "frame_count": 24,
}
ENHANCER = {
    "model_name": "Qwen3-0.6B",
    "quantization": "4-bit (VRAM-friendly)",
    "attention_mode": "auto",
    "use_torch_compile": False,
    "device": "auto",
    "prompt_text": "a cat",
    "enhancement_style": "📝 Artistic Style",
    "custom_system_prompt": "",
    "max_tokens": 300,
    "temperature": 0.8,
    "top_p": 0.85,
    "repetition_penalty": 1.15,
    "keep_model_loaded": True,
    "seed": 7,
}
SCG = {
    "system": "You are terse.",
    "text": "What is it?",
    "model": "Qwen3-VL-8B-Thinking",
    "quantization": "4bit",
    "attention_mode": "eager",
    "keep_model_loaded": True,
    "bypass": False,
    "do_sample": False,
    "temperature": 1.5,
    "top_p": 0.95,
    "top_k": 40,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "max_new_tokens": 800,
    "seed": 9,
    "video_path": "",
}
GIVEN = {
    "AILab_QwenVL": AILAB,
    "AILab_QwenVL_Advanced": ADVANCED,
    "AILab_QwenVL_PromptEnhancer": ENHANCER,
    "QwenVL": SCG,
    "Qwen2.5VL": SCG,
    "Qwen": {
        "prompt": "Hello",
        **{k: v for k, v in SCG.items() if k not in ("text", "video_path")},
    },
}
GIVEN["Qwen2.5"] = GIVEN["Qwen"]


def converted(name, **changed):
    prompt = {"5": {"class_type": name, "inputs": {**GIVEN[name], **changed}}}
    made, notes = convert_prompt(prompt)
    return made["5"]["class_type"], made["5"]["inputs"], notes


def as_node(name, order=0, **changed):
    """The node as a browser saves it."""
    given, shown = {**GIVEN[name], **changed}, []
    for widget in PEERS[name].widgets[order]:
        shown.append(given[widget])
        if widget == "seed":
            shown.append("randomize")
    sockets = [{"name": one, "type": "IMAGE", "link": None} for one in PEERS[name].sockets]
    outputs = [{"name": "RESPONSE", "type": "STRING", "links": [9]}]
    return {
        "id": 5,
        "type": name,
        "pos": [10, 20],
        "size": [300, 400],
        "inputs": sockets,
        "outputs": outputs,
        "widgets_values": shown,
        "title": "my title",
        "properties": {"Node name for S&R": name},
    }


def graph_of(node):
    load = {"id": 1, "type": "LoadImage", "outputs": [{"name": "IMAGE", "links": []}]}
    show = {"id": 7, "type": "PreviewAny", "inputs": [{"name": "source", "link": 9}]}
    return {"nodes": [load, node, show], "links": [[9, 5, 0, 7, 0, "STRING"]], "version": 0.4}


def widgets_of(node):
    """Values by name, read as a browser reads them."""
    shown, named = list(node["widgets_values"]), {}
    for one in ours.shape_of(node["type"]).widgets:
        named[one.name] = shown.pop(0)
        if one.options.get("control_after_generate"):
            named["control"] = shown.pop(0)
    assert shown == []
    return named


def test_every_input_of_every_peer_has_a_rule():
    for name, peer in PEERS.items():
        assert isinstance(peer, Peer)
        assert {*peer.widgets[0], *peer.sockets} <= set(peer.rules), name
        shape = ours.shape_of(peer.target)
        known = {one.name for one in (*shape.widgets, *shape.sockets)}
        assert {rule.goes_to for rule in peer.rules.values()} - {""} <= known, name
        assert all(rule.goes_to or rule.why for rule in peer.rules.values())


@pytest.mark.parametrize("known", values.CHOICES)
def test_every_choice_has_one_of_ours(known):
    nodes = ("HearthQwenVL", "HearthQwenVLAdvanced", "HearthPromptEnhancer")
    inputs = [one for node in nodes for one in ours.shape_of(node).widgets if one.name == known]
    assert inputs
    for one in inputs:
        assert set(values.CHOICES[known].values()) <= set(one.choices())


def test_the_simple_node_keeps_what_it_did_without_asking():
    target, inputs, notes = converted("AILab_QwenVL")
    assert (target, notes) == ("HearthQwenVL", [])
    expected = {
        "model": "Qwen/Qwen3-VL-4B-Instruct",
        "precision": "int8 (8 bit)",
        "preset_prompt": "Tags",
        "max_tokens": 700,
        "keep_loaded": False,
        "seed": 42,
        "temperature": 0.6,
        "top_p": 0.9,
        "repetition_penalty": 1.2,
        "frames": 16,
        "download_if_missing": False,
    }
    assert {name: inputs[name] for name in expected} == expected


def test_the_advanced_node_keeps_every_parameter_and_says_what_is_not_needed():
    target, inputs, notes = converted("AILab_QwenVL_Advanced")
    expected = {"attention": "flash", "beams": 3, "frames": 24, "temperature": 0.4, "top_p": 0.7}
    assert target == "HearthQwenVLAdvanced"
    assert {name: inputs[name] for name in expected} == expected
    assert len(notes) == 2
    assert any("use_torch_compile" in note for note in notes)
    assert any("device" in note and "cuda:0" in note for note in notes)


def test_the_enhancers_style_and_own_instruction():
    target, inputs, notes = converted("AILab_QwenVL_PromptEnhancer")
    assert (target, notes) == ("HearthPromptEnhancer", [])
    assert (inputs["prompt"], inputs["style"], inputs["model"]) == (
        "a cat",
        "Illustration",
        "Qwen/Qwen3-0.6B",
    )
    _, inputs, _ = converted("AILab_QwenVL_PromptEnhancer", custom_system_prompt="As a haiku.")
    assert (inputs["style"], inputs["instruction"]) == ("Own instruction", "As a haiku.")


@pytest.mark.parametrize("name", ["QwenVL", "Qwen2.5VL", "Qwen", "Qwen2.5"])
def test_scgs_nodes_keep_every_parameter(name):
    target, inputs, notes = converted(name)
    assert (target, notes) == ("HearthQwenVLAdvanced", [])
    expected = {
        "system_prompt": "You are terse.",
        "custom_prompt": "Hello" if "VL" not in name else "What is it?",
        "model": "Qwen/Qwen3-VL-8B-Thinking",
        "precision": "int4 (4 bit)",
        "attention": "eager",
        "do_sample": False,
        "temperature": 1.5,
        "top_k": 40,
        "min_p": 0.1,
        "max_tokens": 800,
    }
    assert {one: inputs[one] for one in expected} == expected


def test_links_stay():
    _, inputs, notes = converted("QwenVL", image1=["1", 0], image3=["2", 1], text=["3", 0])
    assert (inputs["image"], inputs["image3"]) == (["1", 0], ["2", 1])
    assert inputs["custom_prompt"] == ["3", 0] and notes == []


def test_a_choice_that_is_linked_is_left_out_and_said():
    _, inputs, notes = converted("AILab_QwenVL", quantization=["3", 0])
    assert inputs["precision"] == "auto"
    assert "precision came from another node" in notes[0]


def test_a_model_whose_name_is_linked_is_left_out_and_said():
    _, _, notes = converted("AILab_QwenVL", custom_model_repo=["3", 0])
    assert "custom_model_repo came from another node" in notes[0]


def test_a_bypassed_node_becomes_its_text():
    target, inputs, notes = converted("Qwen", bypass=True, prompt=["3", 0])
    assert (target, inputs) == ("PrimitiveStringMultiline", {"value": ["3", 0]})
    assert "bypass" in notes[0]


@pytest.mark.parametrize(
    "name, changed, words",
    [
        ("QwenVL", {"seed": -1}, "by chance"),
        ("QwenVL", {"video_path": "/a.mp4"}, "/a.mp4"),
        ("QwenVL", {"model": "SkyCaptioner-V1"}, "Skywork/SkyCaptioner-V1"),
        ("AILab_QwenVL", {"model_name": "somebody/Else"}, "somebody/Else"),
        ("AILab_QwenVL", {"attention_mode": "sdpa"}, "attention_mode"),
        ("AILab_QwenVL", {"preset_prompt": "mine"}, "'mine'"),
        ("AILab_QwenVL", {"unheard_of": 1}, "unheard_of"),
        ("AILab_QwenVL_Advanced", {"num_beams": 99}, "goes from 1 to 8, so it is 8"),
        ("AILab_QwenVL_Advanced", {"quantization": "3-bit"}, "3-bit"),
    ],
)
def test_what_has_no_equivalent_is_said(name, changed, words):
    _, _, notes = converted(name, **changed)
    assert any(words in note and note.startswith(f"{name} (5): ") for note in notes)


def test_a_pack_that_is_installed_is_left_alone():
    prompt = {"5": {"class_type": "AILab_QwenVL", "inputs": dict(AILAB)}}
    assert convert_prompt(prompt, {"AILab_QwenVL"}) == (prompt, [])
    graph = graph_of(as_node("AILab_QwenVL"))
    assert convert_graph(graph, {"AILab_QwenVL"}) == (graph, [])


def test_choices_that_a_browser_copied_get_our_names():
    """As ComfyUI 0.33 leaves them when it replaces a node in the browser."""
    inputs = {
        "precision": "None (FP16)",
        "preset_prompt": "🖼️ Tags",
        "model": "x",
        "image": ["1", 0],
    }
    made, _ = convert_prompt({"5": {"class_type": "HearthQwenVL", "inputs": inputs}})
    assert made["5"]["inputs"] == {**inputs, "precision": "auto", "preset_prompt": "Tags"}


def test_the_given_workflow_is_not_changed():
    prompt = {"5": {"class_type": "Qwen", "inputs": dict(GIVEN["Qwen"])}, "6": "odd", "7": {}}
    graph = graph_of(as_node("Qwen"))
    before = copy.deepcopy((prompt, graph))
    made, _ = convert_prompt(prompt)
    convert_graph(graph)
    assert (prompt, graph) == before
    assert (made["6"], made["7"]) == ("odd", {})


@pytest.mark.parametrize("name", GIVEN)
def test_both_formats_become_the_same(name):
    made, _ = convert_graph(graph_of(as_node(name)))
    node = made["nodes"][1]
    target, inputs, _ = converted(name)
    shown = widgets_of(node)
    assert node["type"] == target
    assert {one: shown[one] for one in inputs} == inputs
    assert shown["control"] == "randomize"
    assert (node["pos"], node["title"]) == ([10, 20], "my title")
    assert node["outputs"][0]["links"] == [9]
    assert made["links"] == [[9, 5, 0, 7, 0, "STRING"]]


@pytest.mark.parametrize("version", ["0.3.64", "0.33"])
@pytest.mark.parametrize("name", GIVEN)
def test_a_browser_reads_the_converted_workflow_as_ours_queued(tmp_path, name, version):
    pytest.importorskip("torch")
    from test_nodes_pack import as_api, comfy_of

    graph = {"nodes": [as_node(name)], "links": []}
    made, _ = convert_graph(graph)
    with comfy_of(tmp_path, version=version) as comfy:
        read = as_api(made, comfy)["5"]
    target, inputs, _ = converted(name)
    assert (read["class_type"], read["inputs"]) == (target, inputs)


def test_links_of_a_saved_workflow_end_at_the_new_places():
    node = as_node("QwenVL", seed=-1)
    for one, link in (("image1", 20), ("image4", 21)):
        next(i for i in node["inputs"] if i["name"] == one)["link"] = link
    node["inputs"].append(
        {"name": "text", "type": "STRING", "link": 22, "widget": {"name": "text"}}
    )
    node["inputs"].append(
        {"name": "video_path", "type": "STRING", "link": 23, "widget": {"name": "video_path"}}
    )
    graph = graph_of(node)
    graph["nodes"][0]["outputs"][0]["links"] = [20, 21, 22, 23]
    graph["links"] += [[n, 1, 0, 5, at, "IMAGE"] for at, n in enumerate((20, 21, 22, 23))]
    made, notes = convert_graph(graph)
    load, new, _ = made["nodes"]
    places = {one["link"]: at for at, one in enumerate(new["inputs"]) if one["link"]}
    names = {one["link"]: one["name"] for one in new["inputs"] if one["link"]}
    assert names == {20: "image", 21: "image4", 22: "custom_prompt"}
    assert {link[0]: link[4] for link in made["links"][1:]} == places
    assert load["outputs"][0]["links"] == [20, 21, 22]
    assert any("video_path" in note for note in notes)
    assert widgets_of(new)["control"] == "randomize"


def test_an_older_version_of_the_pack_is_recognised():
    made, notes = convert_graph(graph_of(as_node("QwenVL", order=1)))
    shown = widgets_of(made["nodes"][1])
    assert (shown["custom_prompt"], shown["max_tokens"], notes) == ("What is it?", 800, [])


def test_values_of_an_unknown_version_are_said_to_need_a_look():
    node = as_node("AILab_QwenVL")
    node["widgets_values"] += [1, 2, 3]
    _, notes = convert_graph(graph_of(node))
    assert "another version" in notes[0]


def test_values_saved_by_name_are_taken_by_name():
    node = as_node("AILab_QwenVL")
    node["widgets_values"] = {**AILAB, "control_after_generate": "increment"}
    made, notes = convert_graph(graph_of(node))
    shown = widgets_of(made["nodes"][1])
    assert (shown["preset_prompt"], shown["control"], notes) == ("Tags", "increment", [])


def test_nodes_inside_of_subgraphs_are_converted():
    inner = graph_of(as_node("AILab_QwenVL"))
    inner["nodes"][1]["inputs"][0]["link"] = 30
    inner["links"] = [
        {"id": 30, "origin_id": 1, "origin_slot": 0, "target_id": 5, "target_slot": 0}
    ]
    graph = {"nodes": [], "links": [], "definitions": {"subgraphs": [inner]}}
    made, _ = convert_graph(graph)
    (part,) = made["definitions"]["subgraphs"]
    assert part["nodes"][1]["type"] == "HearthQwenVL"
    assert part["links"][0]["target_slot"] == 0
    assert part["nodes"][1]["inputs"][0]["name"] == "image"


def test_a_group_node_is_said_to_be_ungrouped_first():
    graph = {"nodes": [], "extra": {"groupNodes": {"g": {"nodes": [{"type": "Qwen"}]}}}}
    assert "ungroup" in convert_graph(graph)[1][0]


@pytest.mark.parametrize("form", ["graph", "prompt", "queued"])
def test_the_command_writes_another_file(tmp_path, capsys, form):
    prompt = {"5": {"class_type": "QwenVL", "inputs": {**SCG, "seed": -1}}}
    workflow = {
        "graph": graph_of(as_node("QwenVL", seed=-1)),
        "prompt": prompt,
        "queued": {"prompt": prompt, "client_id": "x"},
    }[form]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(workflow))
    assert cli.main(["migrate", str(path)]) == 0
    shown = capsys.readouterr()
    assert "by chance" in shown.err and "old.hearth.json" in shown.out
    assert json.loads(path.read_text()) == workflow
    assert "HearthQwenVLAdvanced" in (tmp_path / "old.hearth.json").read_text()


def test_the_command_replaces_only_a_file_that_is_named(tmp_path, capsys):
    path, made = tmp_path / "old.json", tmp_path / "old.hearth.json"
    path.write_text(json.dumps({"5": {"class_type": "QwenVL", "inputs": SCG}}))
    made.write_text("worked on since")
    assert cli.main(["migrate", str(path)]) == 1
    assert f"{made} is there already" in capsys.readouterr().err
    assert made.read_text() == "worked on since"
    assert cli.main(["migrate", str(path), "-o", str(made)]) == 0
    assert "HearthQwenVLAdvanced" in made.read_text()


def test_the_command_says_when_there_is_nothing_to_do_or_to_read(tmp_path, capsys):
    (tmp_path / "ours.json").write_text('{"1": {"class_type": "LoadImage", "inputs": {}}}')
    assert cli.main(["migrate", str(tmp_path / "ours.json")]) == 0
    assert "nothing" in capsys.readouterr().out
    (tmp_path / "bad.json").write_text("{")
    assert cli.main(["migrate", str(tmp_path / "bad.json")]) == 1
    assert "bad.json" in capsys.readouterr().err
