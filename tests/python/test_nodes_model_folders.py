"""Which models the nodes find in ComfyUI's folders, and what looking costs."""

from __future__ import annotations

import os
import shutil
import sys
import threading
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
    for part in (1, 2):
        write_safetensors(models(comfy) / f"LLM/sharded/model-0000{part}-of-00002.safetensors")
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


def test_the_disk_is_asked_once_in_a_second(comfy: FakeComfy, monkeypatch: Any) -> None:
    module, clock = folders_module(comfy), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    listed = fresh(comfy)
    assert listed.names() == ["ember"]
    make_fake_model(models(comfy) / "LLM/new")
    clock[0] += 0.9
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


def look_again(listed: Any) -> list[str]:
    """As a refresh in the browser does, a second later."""
    listed.look_again()
    return list(listed.names())


def settle(folder: Path) -> None:
    """Everything below was changed a minute ago."""
    past = time.time() - 60
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (past, past), follow_symlinks=False)


def reasons(listed: Any) -> dict[str, str]:
    return {name: found.problem for name, found in listed.refused()}


def test_folders_that_have_not_changed_are_not_read_again(comfy: FakeComfy) -> None:
    for at in range(50):
        make_fake_model(models(comfy) / f"LLM/model_{at}")
    settle(models(comfy))
    listed = fresh(comfy)
    before = listed.names()
    read = listed._scanner.read_count
    assert look_again(listed) == before
    assert listed._scanner.read_count == read
    make_fake_model(models(comfy) / "LLM/new")
    assert set(look_again(listed)) == {*before, "LLM/new"}
    assert listed._scanner.read_count == read + 2  # LLM and the model in it


def test_a_change_within_the_clocks_step_is_seen(comfy: FakeComfy) -> None:
    """Two changes that the file system dates alike: a young folder is read each time."""
    listed = fresh(comfy)
    make_fake_model(models(comfy) / "LLM/one")
    look_again(listed)
    dated = (models(comfy) / "LLM").stat()
    make_fake_model(models(comfy) / "LLM/two")
    os.utime(models(comfy) / "LLM", ns=(dated.st_atime_ns, dated.st_mtime_ns))
    assert look_again(listed) == ["ember", "LLM/one", "LLM/two"]


def test_a_link_that_leads_somewhere_again_is_seen(comfy: FakeComfy, tmp_path: Path) -> None:
    (models(comfy) / "LLM/disk").symlink_to(tmp_path / "mounted")
    settle(models(comfy))
    listed = fresh(comfy)
    assert listed.names() == ["ember"]
    make_fake_model(tmp_path / "mounted/big")
    assert look_again(listed) == ["ember", "LLM/disk/big"]


def test_a_model_that_left_leaves_the_list(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/brief")
    settle(models(comfy))
    listed = fresh(comfy)
    assert "LLM/brief" in listed.names()
    shutil.rmtree(models(comfy) / "LLM/brief")
    assert look_again(listed) == ["ember"]


@pytest.mark.parametrize("folder", ["llm", "VLM", "prompt_generator", "Qwen-VL"])
def test_folders_that_packs_use_are_searched(comfy: FakeComfy, folder: str) -> None:
    make_fake_model(models(comfy) / folder / "Qwen3-VL-2B")
    make_fake_model(models(comfy) / "loras/not_a_model")
    assert names(comfy) == ["ember", f"{folder}/Qwen3-VL-2B"]


def test_a_kind_that_another_pack_declares_is_searched_once(
    comfy: FakeComfy, tmp_path: Path
) -> None:
    make_fake_model(tmp_path / "shared/one")
    for kind in ("llm", "LLM"):
        comfy.world.folders[kind] = ([str(tmp_path / "shared")], set())
    assert names(comfy) == ["ember", "llm/one"]


def test_of_a_diffusion_repository_the_text_encoder_is_a_model(comfy: FakeComfy) -> None:
    repository = models(comfy) / "diffusion_models/Qwen-Image"
    make_fake_model(repository / "text_encoder")
    (repository / "text_encoder/tokenizer.json").unlink()
    (repository / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (repository / "tokenizer" / name).write_text("{}")
    for part in ("transformer", "vae"):
        (repository / part).mkdir()
        (repository / part / "config.json").write_text("{}")
        write_safetensors(repository / part / "diffusion_pytorch_model.safetensors")
    (repository / "model_index.json").write_text("{}")
    assert names(comfy) == ["ember", "diffusion_models/Qwen-Image/text_encoder"]
    found = fresh(comfy).find("diffusion_models/Qwen-Image/text_encoder")
    assert found.remarks == ()
    assert found.model["vocab.json"] == repository / "tokenizer/vocab.json"
    assert found.model["config.json"] == repository / "text_encoder/config.json"


def test_a_bare_name_is_the_folder_that_is_called_so(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/Qwen-VL/Qwen3-VL-2B-Instruct")
    found = fresh(comfy).find("Qwen3-VL-2B-Instruct")
    assert found.model == models(comfy) / "LLM/Qwen-VL/Qwen3-VL-2B-Instruct"


def test_a_folder_named_as_the_embedded_model_does_not_replace_it(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/ember")
    assert fresh(comfy).find("ember").model == "ember"
    assert fresh(comfy).find("LLM/ember").model == models(comfy) / "LLM/ember"


def test_what_cannot_be_picked_has_its_reason(comfy: FakeComfy, tmp_path: Path) -> None:
    root = models(comfy) / "LLM"
    make_fake_model(root / "half")
    (root / "half/model.safetensors").rename(root / "half/model-00001-of-00003.safetensors")
    make_fake_model(root / "quantised")
    (root / "quantised/model.safetensors").rename(root / "quantised/q4.gguf")
    (root / "parts").mkdir()
    write_safetensors(root / "parts/model-00001-of-00001.safetensors")
    make_fake_model(root / "same")
    make_fake_model(tmp_path / "elsewhere/same")
    comfy.world.folders["LLM"] = ([str(root), str(tmp_path / "elsewhere")], set())
    listed = fresh(comfy)
    assert listed.names() == ["ember", "LLM/same"]
    told = reasons(listed)
    assert "lacks 2 of its 3 parts, first model-00002-of-00003" in told["LLM/half"]
    assert "q4.gguf" in told["LLM/quantised"]
    assert "no config.json" in told["LLM/parts"]
    assert str(root / "same") in told["LLM/same"]
    assert not listed.has("LLM/half")
    with pytest.raises(Exception, match="2 of its 3 parts"):
        listed.find("LLM/half")


def test_a_look_from_another_thread_takes_nothing_away(comfy: FakeComfy, monkeypatch: Any) -> None:
    """ComfyUI's server asks for lists while its worker looks a model up."""
    make_fake_model(models(comfy) / "LLM/one")
    listed = fresh(comfy)
    scanner = listed._scanner
    own_begin, own_end = scanner.begin, scanner.end
    others: list[threading.Thread] = []
    begun, may_go_on = threading.Event(), threading.Event()

    def begin() -> None:
        own_begin()
        if threading.current_thread() in others:
            begun.set()
            assert may_go_on.wait(10)

    def end() -> None:
        own_end()
        if not others:
            others.append(threading.Thread(target=look_again, args=(listed,)))
            others[0].start()
            begun.wait(0.5)  # in vain while only one may look

    monkeypatch.setattr(scanner, "begin", begin)
    monkeypatch.setattr(scanner, "end", end)
    assert listed.names() == ["ember", "LLM/one"]
    may_go_on.set()
    others[0].join(10)
    assert listed.names() == ["ember", "LLM/one"]


def test_threads_that_look_at_once_all_find_what_is_there(comfy: FakeComfy) -> None:
    for at in range(20):
        make_fake_model(models(comfy) / f"LLM/model_{at}")
    listed, wrong = fresh(comfy), []

    def look() -> None:
        try:
            for _ in range(50):
                if len(look_again(listed)) != 21 or listed.path_of("LLM/model_7") is None:
                    wrong.append("a model is missing")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_by_the_hubs_name_a_folder_that_is_not_whole_has_its_reason(comfy: FakeComfy) -> None:
    half = models(comfy) / "LLM/Tiny-VL"
    make_fake_model(half)
    (half / "model.safetensors").rename(half / "model-00001-of-00003.safetensors")
    with pytest.raises(Exception, match=f"{half} lacks 2 of its 3 parts"):
        fresh(comfy).find("someone/Tiny-VL")
    with pytest.raises(Exception, match="in none of ComfyUI's model folders"):
        fresh(comfy).find("text_encoders/Tiny-VL")


def test_a_folder_that_may_not_be_read_is_named(comfy: FakeComfy, monkeypatch: Any) -> None:
    make_fake_model(models(comfy) / "LLM/fine")
    make_fake_model(models(comfy) / "LLM/secret")
    own = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return own(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listed = fresh(comfy)
    assert listed.names() == ["ember", "LLM/fine"]
    assert reasons(listed) == {"LLM/secret": "cannot be read: permission denied"}


def test_thousands_of_files_and_folders_are_looked_at_quickly(comfy: FakeComfy) -> None:
    for at in range(20):
        folder = models(comfy) / f"LLM/pack_{at}"
        folder.mkdir()
        for number in range(300):
            (folder / f"picture_{number}.png").touch()
        make_fake_model(folder / "model")
    settle(models(comfy))
    listed = fresh(comfy)
    assert len(listed.names()) == 21
    began = time.perf_counter()
    look_again(listed)
    assert time.perf_counter() - began < 0.1  # measured 0.001 s


def test_a_link_to_a_whole_disk_is_given_up(comfy: FakeComfy, monkeypatch: Any) -> None:
    monkeypatch.setattr(scan_module(comfy), "MOST_FOLDERS", 10)
    for at in range(20):
        make_fake_model(models(comfy) / f"LLM/model_{at:02d}")
    listed = fresh(comfy)
    assert len(listed.names()) == 10  # with ember; the root itself is one of the ten
    assert "not searched" in reasons(listed)["LLM/."]


def scan_module(comfy: FakeComfy) -> Any:
    return sys.modules[f"{comfy.module.__name__}.client_py.hearth.nodes._model_scan"]


def test_the_node_lists_models_and_reasons(comfy: FakeComfy) -> None:
    make_fake_model(models(comfy) / "LLM/fine")
    make_fake_model(models(comfy) / "LLM/broken")
    (models(comfy) / "LLM/broken/config.json").write_text("{")
    make_fake_model(models(comfy) / "LLM/awq", quantization_config={"quant_method": "awq"})
    make_fake_model(models(comfy) / "LLM/pickled")
    (models(comfy) / "LLM/pickled/model.safetensors").rename(
        models(comfy) / "LLM/pickled/pytorch_model.bin"
    )
    outcome = comfy.run({"1": {"class_type": "HearthModels", "inputs": {}}})
    lines = {line.split()[0]: line for line in outcome.text("1").splitlines() if line}
    assert "hearth_fake" in lines["LLM/fine"] and str(models(comfy)) in lines["LLM/fine"]
    assert "cannot be read" in lines["LLM/broken"]
    assert "awq" in lines["LLM/awq"]
    assert "pytorch_model.bin" in lines["LLM/pickled"]
