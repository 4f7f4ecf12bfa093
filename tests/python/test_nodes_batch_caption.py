"""Batch Caption: which files are read and written, whatever happens meanwhile."""

import errno
import os
import pathlib
import threading

import pytest

import server as scripted
from hearth import messages, picture_files
from nodes_for_test import TESTS, FakeComfy, asked, make, outputs

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from hearthd_for_test import make_fake_model  # noqa: E402

NODE = "HearthBatchCaption"
SUMMARY, CAPTIONS, PATHS = range(3)


@pytest.fixture(params=["0.3.64", "0.33"])
def comfy(request, service, tmp_path):
    base = tmp_path / "comfy"
    with FakeComfy(request.param, TESTS.parent, base, {"HEARTH_SOCKET": service.path}) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    for index in range(12):
        Image.new("RGB", (8 + index, 8), (index, 0, 0)).save(path / f"p{index:02}.png")
    return path


def widths(peer, frame, request):
    """Answers with the picture's width."""
    picture = request.messages[0].content[0]
    peer.send(scripted.generated(f" {picture.tensor.shape[1]} wide "), frame.request_id)


def texts(folder):
    return {path.name: path.read_text() for path in sorted(folder.rglob("*.txt"))}


def test_each_picture_has_its_text_beside_it(comfy, service, folder):
    service.on[messages.Generate] = widths
    outcome, values = outputs(comfy, {"1": make(NODE, folder=str(folder))}, "1", 3)
    assert outcome.status == "success", outcome.error
    assert texts(folder) == {f"p{index:02}.txt": f"{8 + index} wide" for index in range(12)}
    assert values[CAPTIONS] == [f"{8 + index} wide" for index in range(12)]
    assert values[PATHS] == [str(folder / f"p{index:02}.png") for index in range(12)]
    assert values[SUMMARY][0] == f"{folder}: 12 captioned, 0 had a text already"
    assert outcome.progress[-1] == ("1", 12, 12)
    assert {request.priority for request in asked(service)} == {"batch"}
    assert sorted(path.suffix for path in folder.iterdir()) == [".png"] * 12 + [".txt"] * 12


def test_eight_are_asked_about_at_once(comfy, service, folder):
    open_now, most, lock = 0, 0, threading.Lock()

    def slow(peer, frame, request):
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)

        def end():
            nonlocal open_now
            with lock:
                open_now -= 1
            widths(peer, frame, request)

        threading.Timer(0.2, end).start()

    service.on[messages.Generate] = slow
    assert comfy.run({"1": make(NODE, folder=str(folder))}).status == "success"
    assert most == 8


def test_a_second_run_goes_on_where_the_first_was(comfy, service, folder):
    (folder / "p03.txt").write_text("mine")
    comfy.run({"1": make(NODE, folder=str(folder), limit=5)})
    assert len(asked(service)) == 5 and texts(folder)["p03.txt"] == "mine"
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert "6 captioned, 6 had a text already" in outcome.text("1")
    assert len(asked(service)) == 11 and texts(folder)["p03.txt"] == "mine"


def test_a_name_that_is_no_unicode_stands_in_nobodys_way(comfy, service, folder):
    Image.new("RGB", (9, 9)).save(os.fsencode(folder) + b"/\xff.png", "PNG")
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.status == "success", outcome.error
    assert "13 captioned" in outcome.text("1")


def test_a_text_that_cannot_be_read_is_named(comfy, service, folder):
    (folder / "p03.txt").mkdir()
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.error_type == "BadRequest" and "p03.txt cannot be read" in outcome.error


def test_overwrite_writes_all_of_them_anew(comfy, service, folder):
    (folder / "p03.txt").write_text("mine")
    comfy.run({"1": make(NODE, folder=str(folder), existing="overwrite")})
    assert set(texts(folder).values()) == {"a red circle"} and len(texts(folder)) == 12


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(comfy, service, folder):
    (folder / "p03.png").write_bytes(b"no picture")
    (folder / "p04.png").write_bytes((folder / "p05.png").read_bytes()[:44])
    (folder / "notes.md").write_text("no picture either")
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.status == "success", outcome.error
    assert "10 captioned, 0 had a text already, 2 not captioned:" in outcome.text("1")
    assert "p03.png: " in outcome.text("1") and "p04.png: " in outcome.text("1")
    assert len(texts(folder)) == 10


def test_a_grey_picture_of_16_bits_keeps_its_greys(tmp_path):
    numpy, pillow = pytest.importorskip("numpy"), pytest.importorskip("PIL.Image")
    greys = numpy.array([[0, 257, 20 * 257, 65535]], numpy.uint16)
    pillow.fromarray(greys).save(tmp_path / "grey.png")
    loaded = picture_files.load_picture(tmp_path / "grey.png")
    assert [pixel[0] for pixel in loaded.tolist()[0]] == [0, 1, 20, 255]


def test_a_picture_that_the_service_refuses_is_named_and_the_rest_goes_on(comfy, service, folder):
    def refuse_one(peer, frame, request):
        if request.messages[0].content[0].tensor.shape[1] == 10:
            error = messages.Error(code="too_long", what="70000 tokens.")
            peer.send(error, frame.request_id)
        else:
            widths(peer, frame, request)

    service.on[messages.Generate] = refuse_one
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert "11 captioned" in outcome.text("1") and "p02.png: 70000 tokens." in outcome.text("1")


NO_TEXT = "The answer ended within its thoughts, so there is no text."


def thinks_too_long(peer, frame, request):
    """As a model that always thinks does, for pictures that are less than 18 wide."""
    if request.messages[0].content[0].tensor.shape[1] >= 18 or request.thinking_tokens:
        return widths(peer, frame, request)
    fields = {"thinking": "Hm …", "stop_reason": "max_tokens", "warnings": [NO_TEXT]}
    return peer.send(scripted.generated(" ", **fields), frame.request_id)


def test_an_answer_without_text_is_no_caption(comfy, service, folder):
    service.on[messages.Generate] = thinks_too_long
    node = make(NODE, folder=str(folder), prefix="tok, ")
    shown = comfy.run({"1": node}).text("1")
    assert shown.startswith(f"{folder}: 2 captioned, 0 had a text already, 10 not captioned:")
    assert "\np09.png: the answer has no text\n" in shown
    assert f"\nNote for 10 pictures (p00.png, p01.png, p02.png, …): {NO_TEXT}" in shown
    assert texts(folder) == {"p10.txt": "tok, 18 wide", "p11.txt": "tok, 19 wide"}
    outcome = comfy.run({"1": make(NODE, folder=str(folder), thinking_tokens=200)})
    assert "10 captioned, 2 had a text already" in outcome.text("1")
    assert {request.thinking_tokens for request in asked(service)[12:]} == {200}


def test_an_answer_without_text_leaves_the_text_that_is_there(comfy, service, folder):
    (folder / "p03.txt").write_text("mine")
    service.on[messages.Generate] = thinks_too_long
    comfy.run({"1": make(NODE, folder=str(folder), existing="overwrite")})
    assert texts(folder)["p03.txt"] == "mine" and len(texts(folder)) == 3


def test_captions_that_were_cut_and_warnings_are_told_once_with_their_pictures(
    comfy, service, folder
):
    def cut(peer, frame, request):
        width = request.messages[0].content[0].tensor.shape[1]
        fields = {"stop_reason": "max_tokens"} if width < 10 else {}
        warnings = ["Seen small."] if width in (8, 12, 13, 14) else []
        peer.send(scripted.generated("a", warnings=warnings, **fields), frame.request_id)

    service.on[messages.Generate] = cut
    lines = comfy.run({"1": make(NODE, folder=str(folder))}).text("1").splitlines()
    assert lines[0] == f"{folder}: 12 captioned, 0 had a text already"
    assert sorted(lines[1:]) == [
        "Note for 4 pictures (p00.png, p04.png, p05.png, …): Seen small.",
        "Note for p00.png, p01.png: cut at max_tokens (64): raise it, or ask for less.",
    ]


def test_what_is_to_be_known_of_the_model_is_told(comfy, service, folder):
    make_fake_model(comfy.base / "models/LLM/bare")
    (comfy.base / "models/LLM/bare/tokenizer.json").unlink()
    shown = comfy.run({"1": make(NODE, folder=str(folder), model="LLM/bare")}).text("1")
    assert "Note: The folder bare has no tokenizer of its own" in shown


def test_an_error_that_meets_all_of_them_ends_the_run(comfy, service, folder):
    service.on[messages.Generate] = scripted.fails("out_of_memory", "8 GB needed.")
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.error_type == "OutOfMemory"
    assert texts(folder) == {} and not list(folder.glob(".*"))


@pytest.mark.parametrize("existing", ["skip", "overwrite"])
@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO"])
def test_a_disk_that_takes_nothing_any_more_ends_the_run(
    comfy, service, folder, monkeypatch, code, existing
):
    own, left = os.replace, [3]

    def replace(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(getattr(errno, code), "It takes nothing", source)
        own(source, target)

    monkeypatch.setattr(os, "replace", replace)
    outcome = comfy.run({"1": make(NODE, folder=str(folder), at_once=1, existing=existing)})
    assert outcome.error_type == "BadRequest"
    assert f"into {folder}: it takes nothing. 3 of 12 pictures" in outcome.error
    assert ("goes on where it stopped" in outcome.error) == (existing == "skip")
    assert len(asked(service)) == 4
    assert len(texts(folder)) == 3 and not list(folder.glob(".*"))


def test_a_folder_that_takes_no_files_is_found_before_anything_is_asked(comfy, service, folder):
    (folder / "taken").touch()
    output = {"output_folder": str(folder / "taken/captions"), "existing": "overwrite"}
    outcome = comfy.run({"1": make(NODE, folder=str(folder), **output)})
    assert outcome.error_type == "BadRequest"
    assert f"into {folder}/taken/captions: not a directory" in outcome.error
    assert asked(service) == []


def test_a_full_disk_is_found_before_anything_is_asked(comfy, service, folder, monkeypatch):
    def full(path, _content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.error_type == "BadRequest" and "no space left" in outcome.error
    assert asked(service) == [] and not list(folder.glob(".*"))


def test_a_text_that_cannot_be_replaced_is_named_and_the_rest_goes_on(comfy, service, folder):
    (folder / "p03.txt").mkdir()
    outcome = comfy.run({"1": make(NODE, folder=str(folder), existing="overwrite")})
    assert "11 captioned" in outcome.text("1")
    assert "p03.png: Is a directory" in outcome.text("1")


def test_cancel_leaves_whole_files_only(comfy, service, folder):
    def some(peer, frame, request):
        if request.messages[0].content[0].tensor.shape[1] < 11:
            widths(peer, frame, request)

    service.on[messages.Generate] = some
    outcome = comfy.run({"1": make(NODE, folder=str(folder))}, interrupt_after=1.0)
    assert outcome.status == "interrupted"
    assert texts(folder) == {f"p{index:02}.txt": f"{8 + index} wide" for index in range(3)}
    assert not list(folder.glob(".*"))
    scripted.wait_until(lambda: len(service.peer.messages_of(messages.Cancel)) == 8)


def test_templates_are_filled_in_and_other_braces_stay(comfy, service, folder):
    node = make(
        NODE,
        folder=str(folder),
        limit=1,
        prefix="tok, {name} of {folder}: ",
        suffix=" {x} #{index}",
        custom_prompt="What is {name}?",
    )
    comfy.run({"1": node})
    assert texts(folder) == {"p00.txt": "tok, p00 of pictures: a red circle {x} #1"}
    assert asked(service)[0].messages[0].content[1].text == "What is p00?"


def test_folders_below_are_searched_when_asked_and_links_in_a_circle_end(comfy, service, folder):
    below = folder / "below"
    below.mkdir()
    Image.new("RGB", (9, 9)).save(below / "deep.PNG")
    (below / "round").symlink_to(folder)
    comfy.run({"1": make(NODE, folder=str(folder))})
    assert not (below / "deep.txt").exists()
    comfy.run({"1": make(NODE, folder=str(folder), recursive=True)})
    assert (below / "deep.txt").exists()


def test_texts_may_go_to_another_folder(comfy, service, folder, tmp_path):
    (folder / "below").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "below" / "deep.webp")
    node = make(NODE, folder=str(folder), output_folder="captions", recursive=True)
    assert comfy.run({"1": node}).status == "success"
    assert len(texts(comfy.base / "output/captions")) == 13
    assert (comfy.base / "output/captions/below/deep.txt").exists() and not texts(folder)


def test_a_name_without_a_slash_is_a_folder_of_comfyuis_input(comfy, service, folder):
    (comfy.base / "input/mine").mkdir()
    (folder / "p00.png").rename(comfy.base / "input/mine/p.png")
    assert comfy.run({"1": make(NODE, folder="mine")}).status == "success"
    assert (comfy.base / "input/mine/p.txt").exists()


@pytest.mark.parametrize(
    "named, complaint",
    [
        ("", "folder is empty"),
        ("../..", "leads out of"),
        ("nowhere", "cannot be read: no such file or directory"),
    ],
)
def test_a_folder_that_is_none_is_an_error_that_says_so(comfy, service, named, complaint):
    outcome = comfy.run({"1": make(NODE, folder=named)})
    assert outcome.error_type == "BadRequest" and complaint in outcome.error


def test_the_environment_may_allow_some_folders_only(comfy, service, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTH_CAPTION_FOLDERS", str(tmp_path / "other"))
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert outcome.error_type == "BadRequest" and "may use" in outcome.error
    monkeypatch.setenv("HEARTH_CAPTION_FOLDERS", str(tmp_path))
    assert comfy.run({"1": make(NODE, folder=str(folder))}).status == "success"


def test_two_pictures_do_not_share_a_text(comfy, service, folder):
    Image.new("RGB", (9, 9)).save(folder / "p00.jpg")
    outcome = comfy.run({"1": make(NODE, folder=str(folder))})
    assert "12 captioned" in outcome.text("1")
    assert "p00.png: p00.txt is another picture's" in outcome.text("1")


def test_the_cache_holds_until_a_picture_comes_or_a_text_goes(comfy, service, folder):
    node = {"1": make(NODE, folder=str(folder))}
    comfy.run(node)
    assert comfy.run(node).cached == []
    assert comfy.run(node).cached == ["1"]
    (folder / "p03.txt").unlink()
    assert comfy.run(node).cached == []
    comfy.run(node)
    (folder / "p04.txt").write_text("corrected by hand")
    _, values = outputs(comfy, node, "1", 3)
    assert values[CAPTIONS][4] == "corrected by hand"
    Image.new("RGB", (9, 9)).save(folder / "new.png")
    assert comfy.run(node).cached == []
    assert len(texts(folder)) == 13


def test_texts_that_were_all_deleted_are_written_again(comfy, service, folder):
    node = {"1": make(NODE, folder=str(folder))}
    for _ in range(2):
        assert comfy.run(node).cached == []
        assert len(texts(folder)) == 12
        for path in folder.glob("*.txt"):
            path.unlink()


def test_a_picture_without_text_is_tried_again_with_every_run(comfy, service, folder):
    (folder / "p03.png").write_bytes(b"no picture")
    node = {"1": make(NODE, folder=str(folder))}
    for _ in range(3):
        outcome = comfy.run(node)
        assert outcome.cached == [] and "p03.png: " in outcome.text("1")
    assert len(asked(service)) == 11


@pytest.mark.parametrize("linked", ["folder", "recursive", "output_folder", "existing"])
def test_what_comes_by_a_link_is_not_known_before_the_run(comfy, folder, linked):
    """ComfyUI hands over None for it. All pictures have their texts, so nothing else is to do."""
    for picture in folder.glob("*.png"):
        picture.with_suffix(".txt").write_text("mine")
    cls = comfy.nodes[NODE]
    state = getattr(cls, "fingerprint_inputs", None) or cls.IS_CHANGED
    given = {"folder": str(folder), "output_folder": "", "recursive": False, "existing": "skip"}
    assert state(**given) == state(**given)
    print_ = state(**{**given, linked: None})
    assert print_ != print_
