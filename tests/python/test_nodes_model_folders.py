"""Which models the nodes find in ComfyUI's folders, and what looking costs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

from fake_comfy import FakeComfy  # noqa: E402
from hearthd_for_test import make_fake_model, write_safetensors  # noqa: E402


@pytest.fixture
def comfy(tmp_path: Path) -> Iterator[FakeComfy]:
    with FakeComfy("0.33", TESTS.parent, tmp_path) as running:
        yield running


def folders_module(comfy: FakeComfy) -> Any:
    return sys.modules[f"{comfy.module.__name__}.client_py.hearth.nodes._model_folders"]


def fresh(comfy: FakeComfy) -> Any:
    """A list that has looked at nothing yet."""
    return folders_module(comfy).ModelFolders()


def names(comfy: FakeComfy) -> list[str]:
    return list(fresh(comfy).names())


def models(comfy: FakeComfy) -> Path:
    return comfy.base / "models"


def test_the_embedded_model_is_there_without_any_folder(comfy: FakeComfy) -> None:
    assert names(comfy) == ["ember"]


def test_folders_and_single_files_are_found(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/Qwen3-VL-2B")
    make_fake_model(models(comfy) / "LLM/Qwen/Qwen3-VL-4B")
    make_fake_model(models(comfy) / "text_encoders/folder")
    make_fake_model(models(comfy) / "diffusion_models/misplaced")
    write_safetensors(models(comfy) / "text_encoders/qwen_2.5_vl_7b.safetensors")
    (models(comfy) / "clip").mkdir()
    write_safetensors(models(comfy) / "clip/old.safetensors")
    assert names(comfy) == [
        "ember",
        "diffusion_models/misplaced",
        "LLM/Qwen/Qwen3-VL-4B",
        "LLM/Qwen3-VL-2B",
        "text_encoders/folder",
        "text_encoders/old.safetensors",
        "text_encoders/qwen_2.5_vl_7b.safetensors",
    ]


def test_parts_of_a_model_and_other_files_are_not_models(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/sharded")
    write_safetensors(models(comfy) / "LLM/sharded/model-00002-of-00002.safetensors")
    make_fake_model(models(comfy) / "LLM/.cache/hidden")
    (models(comfy) / "LLM/readme.txt").touch()
    (models(comfy) / "LLM/only_a_config").mkdir()
    (models(comfy) / "LLM/only_a_config/config.json").touch()
    (models(comfy) / "diffusion_models").mkdir()
    write_safetensors(models(comfy) / "diffusion_models/flux.safetensors")
    assert names(comfy) == ["ember", "LLM/sharded"]


def test_folders_of_extra_model_paths_count(comfy: FakeComfy, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    make_fake_model(elsewhere / "my_llms/one")
    make_fake_model(elsewhere / "LLM/two")
    comfy.world.folders["LLM"] = ([str(elsewhere / "my_llms")], set())
    comfy.world.folders["text_encoders"][0].append(str(elsewhere / "text_encoders"))
    assert names(comfy) == ["ember", "LLM/one", "LLM/two"]


def test_the_first_of_two_models_with_one_name_is_taken(comfy: FakeComfy, tmp_path: Path) -> None:
    make_fake_model(models(comfy) / "LLM/same")
    make_fake_model(tmp_path / "elsewhere/same")
    comfy.world.folders["LLM"] = ([str(tmp_path / "elsewhere")], set())
    assert names(comfy) == ["ember", "LLM/same"]
    assert fresh(comfy).find("LLM/same").model == tmp_path / "elsewhere/same"


def test_a_link_in_a_circle_ends(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/one")
    (models(comfy) / "LLM/circle").symlink_to(models(comfy) / "LLM")
    assert "LLM/one" in names(comfy)


def test_the_disk_is_asked_once_in_two_seconds(comfy: FakeComfy, monkeypatch: Any) -> None:
    module, clock = folders_module(comfy), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    listed = fresh(comfy)
    assert listed.names() == ["ember"]
    make_fake_model(models(comfy) / "LLM/new")
    clock[0] += 1.9
    assert listed.names() == ["ember"]
    clock[0] += 0.2
    assert listed.names() == ["ember", "LLM/new"]


def test_a_name_that_came_since_is_found_at_once(comfy: FakeComfy) -> None:
    listed = fresh(comfy)
    listed.names()
    make_fake_model(models(comfy) / "LLM/new")
    assert listed.has("LLM/new")
    assert listed.find("LLM/new").model == models(comfy) / "LLM/new"


def test_a_list_of_a_thousand_models_is_cheap(comfy: FakeComfy) -> None:
    for at in range(1000):
        make_fake_model(models(comfy) / f"LLM/model_{at}")
    listed = fresh(comfy)
    began = time.perf_counter()
    assert len(listed.names()) == 1001
    assert time.perf_counter() - began < 2  # measured 0.04 s
    began = time.perf_counter()
    listed.names()
    assert time.perf_counter() - began < 0.1  # ten times the target


@pytest.mark.parametrize("name", ["LLM/gone", "gone.safetensors", "../../etc/passwd"])
def test_a_path_in_no_folder_is_refused_and_says_what_to_do(comfy: FakeComfy, name: str) -> None:
    listed = fresh(comfy)
    assert not listed.has(name)
    with pytest.raises(Exception, match="models/LLM") as raised:
        listed.find(name)
    assert type(raised.value).__name__ == "UnknownModel"
    assert name in str(raised.value)


def test_a_model_deleted_since_the_list_was_made_is_refused(comfy: FakeComfy) -> None:
    path = models(comfy) / "text_encoders/brief.safetensors"
    write_safetensors(path)
    listed = fresh(comfy)
    assert listed.has("text_encoders/brief.safetensors")
    path.unlink()
    with pytest.raises(Exception, match="brief"):
        listed.find("text_encoders/brief.safetensors")


def test_a_folder_with_a_tokenizer_is_offered_as_it_lies(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/whole")
    found = fresh(comfy).find("LLM/whole")
    assert (found.model, found.remarks) == (models(comfy) / "LLM/whole", ())


def test_a_folder_without_a_tokenizer_gets_comfyuis(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/bare")
    (models(comfy) / "LLM/bare/tokenizer.json").unlink()
    found = fresh(comfy).find("LLM/bare")
    assert set(found.model) == {
        "config.json",
        "model.safetensors",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
    }
    assert "tokenizer" in found.remarks[0]


def test_a_model_keeps_its_own_files_beside_a_lent_tokenizer(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/bare")
    (models(comfy) / "LLM/bare/tokenizer.json").unlink()
    (models(comfy) / "LLM/bare/tokenizer_config.json").write_text("{}")
    found = fresh(comfy).find("LLM/bare").model
    assert found["tokenizer_config.json"] == models(comfy) / "LLM/bare/tokenizer_config.json"


def test_without_comfyuis_tokenizer_a_single_file_is_offered_alone(comfy: FakeComfy) -> None:
    for path in (comfy.base / "comfy/text_encoders/qwen25_tokenizer").iterdir():
        path.unlink()
    (comfy.base / "comfy/text_encoders/qwen25_tokenizer").rmdir()
    write_safetensors(models(comfy) / "text_encoders/one.safetensors")
    found = fresh(comfy).find("text_encoders/one.safetensors")
    assert (list(found.model), found.remarks) == (["one.safetensors"], ())


def test_any_bare_name_is_for_the_service_to_judge(comfy: FakeComfy) -> None:
    assert fresh(comfy).has("house-model")
    assert fresh(comfy).find("house-model").model == "house-model"
