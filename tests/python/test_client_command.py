"""The `hearth` command as a process of its own."""

import json
import os
import signal
import subprocess
import sys

import numpy
import pytest
from PIL import Image

from hearth import messages, presets
from server import fails, generated, replies, silent, token, wait_until


def start(*arguments, **more):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("HEARTH_SOCKET", None)
    return subprocess.Popen(
        [sys.executable, "-m", "hearth", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **more,
    )


def run(*arguments):
    """(exit code, stdout, stderr)."""
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (6, 4), (255, 0, 0)).save(path)
    return path


def test_a_picture_is_described(service, picture):
    code, out, err = run("caption", picture, "--socket", service.path, "--max-tokens", 9)
    assert (code, out) == (0, "a red circle\n")
    assert "2 tokens" in err and "\x1b" not in out + err, "no colours but on a terminal"
    (request,) = service.peer.messages_of(messages.Generate)
    assert (request.model, request.max_tokens, request.temperature) == ("ember", 9, 0.0)
    tensor, prompt = request.messages[0].content
    assert prompt.text == "Describe this picture."
    assert tensor.tensor.shape == [4, 6, 3]
    assert service.peer.arena_bytes(tensor.tensor) == b"\xff\0\0" * 24


def test_a_program_gets_an_answer_as_it_is(service, picture):
    text = "a\tb :fire: [bold]c[/nothing]\r\x1b[1m"
    events = [token(text), generated(text)]

    def answer(peer, frame, _request):
        for one in events:
            peer.send(one, frame.request_id)

    service.on[messages.Generate] = answer
    code, out, _ = run("caption", picture, "--socket", service.path)
    assert (code, out) == (0, text + "\n")


def test_a_preset_is_asked_by_its_name(service, picture):
    run("caption", picture, "--preset", "One sentence", "--socket", service.path)
    (request,) = service.peer.messages_of(messages.Generate)
    assert request.messages[0].content[1].text == presets.QUESTIONS["One sentence"]
    code, _, err = run("caption", picture, "--preset", "Shout", "--socket", service.path)
    assert code == 2 and "'Tags'" in err


def test_several_pictures_are_several_answers(service, picture, tmp_path):
    other = tmp_path / "gray.png"
    Image.fromarray(numpy.zeros((4, 4), "u1")).save(other)
    code, out, _ = run("caption", picture, other, "--socket", service.path)
    assert code == 0
    assert out == f"{picture}: a red circle\n{other}: a red circle\n"
    assert len(service.peer.messages_of(messages.Generate)) == 2


def test_json_holds_all_that_is_known(service, picture):
    code, out, _ = run("caption", picture, "--json", "--socket", service.path)
    answer = json.loads(out)
    assert code == 0
    assert answer["text"] == "a red circle" and answer["token_ids"] == [5, 6]
    assert answer["stop_reason"] == "end_token" and answer["receipt"]["total_ms"] == 1.0


def test_a_folder_is_offered(service, picture, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    code, _, err = run("caption", picture, "--model", tmp_path, "--socket", service.path)
    assert code == 0, err
    assert service.peer.messages_of(messages.Generate)[0].model == "id-2-auto"


def test_transparency_is_kept_and_pictures_are_turned_upright(service, tmp_path):
    clear, turned = tmp_path / "clear.png", tmp_path / "turned.jpg"
    Image.new("RGBA", (6, 4), (255, 0, 0, 9)).save(clear)
    image = Image.new("RGB", (6, 4))
    image.getexif()[0x0112] = 6
    image.save(turned, exif=image.getexif())
    run("caption", clear, turned, "--socket", service.path)
    requests = service.peer.messages_of(messages.Generate)
    shapes = [request.messages[0].content[0].tensor.shape for request in requests]
    assert shapes == [[4, 6, 4], [6, 4, 3]]


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["caption", "PICTURE"]])
def test_a_service_that_is_down_is_exit_code_3(picture, tmp_path, command):
    command = [str(picture) if word == "PICTURE" else word for word in command]
    code, out, err = run(*command, "--socket", tmp_path / "hearth.sock")
    assert (code, out) == (3, "")
    assert "No hearth service answers at" in err and "hearthd --socket" in err
    assert "Traceback" not in err


def test_an_error_of_the_service_is_exit_code_1(service, picture):
    service.on[messages.Generate] = fails("out_of_memory", "8 GiB [needed].", hint="Unload.")
    code, _, err = run("caption", picture, "--socket", service.path)
    assert code == 1 and "8 GiB [needed].\nUnload." in err


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "COMMAND"),
        (["caption"], "PICTURE"),
        (["caption", "/nowhere.png"], "/nowhere.png"),
        (["caption", "PICTURE", "--temperature", "9"], "temperature is 9.0"),
        (["caption", "PICTURE", "--tempreature", "1"], "--tempreature"),
        (["caption", __file__], "cannot identify image"),
    ],
)
def test_wrong_usage_is_exit_code_2(picture, arguments, complaint):
    arguments = [str(picture) if word == "PICTURE" else word for word in arguments]
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert complaint in err and "Traceback" not in err


def test_a_picture_that_is_damaged_is_told_and_the_others_go_on(service, picture, tmp_path):
    damaged = tmp_path / "damaged.png"
    Image.effect_noise((200, 200), 90).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:9000])
    code, out, err = run("caption", picture, damaged, picture, "--socket", service.path)
    assert code == 1 and out == 2 * f"{picture}: a red circle\n"
    assert f"{damaged} cannot be read" in err and "Traceback" not in err


@pytest.mark.parametrize("fault", ["bad_picture", "too_long", "not_finite"])
def test_a_picture_that_the_model_cannot_take_is_told_and_the_others_go_on(
    service, picture, tmp_path, fault
):
    odd = tmp_path / "odd.png"
    odd.write_bytes(picture.read_bytes())
    answered = []

    def second_fails(peer, frame, request):
        answered.append(request)
        if len(answered) == 2:
            peer.send(token("a re"), frame.request_id)
            peer.send(messages.Error(code=fault, what="not this one."), frame.request_id)
        else:
            peer.send(token("a red circle"), frame.request_id)
            peer.send(generated(), frame.request_id)

    service.on[messages.Generate] = second_fails
    code, out, err = run("caption", picture, odd, picture, "--socket", service.path)
    assert code == 1 and len(answered) == 3
    assert out == f"{picture}: a red circle\n{odd}: a re\n{picture}: a red circle\n"
    assert f"{odd}: not this one." in err and "Traceback" not in err


def test_what_meets_all_pictures_ends_the_command(service, picture):
    service.on[messages.Generate] = fails("out_of_memory", "8 GiB needed.")
    code, _, _ = run("caption", picture, picture, "--socket", service.path)
    assert code == 1 and len(service.peer.messages_of(messages.Generate)) == 1


def test_a_picture_that_is_too_large_for_pillow_is_wrong_usage(tmp_path):
    huge = tmp_path / "huge.ppm"
    huge.write_bytes(b"P6 60000 60000 255 ")
    code, _, err = run("caption", huge)
    assert code == 2 and "60000" not in err.partition("huge.ppm")[0] and "Traceback" not in err


def test_status_shows_worker_models_and_clients(service):
    report = messages.StatusReport(
        server="hearthd 0.1.0",
        boot_id="b",
        uptime_ms=3_725_000,
        worker_state="ready",
        worker_pid=4711,
        worker_restarts=2,
        devices=[messages.Device(kind="cpu", name="Some CPU", memory_bytes=25 << 30)],
        slots=4,
        models=[
            messages.ModelEntry(
                model="0123456789abcdef", name="ember", family="qwen3_vl", state="hot",
                resident_bytes=8 << 20, loads=1, holders=2, is_public=True,
            )
        ],
        clients=[
            messages.ClientEntry(connection=7, client="ComfyUI", pid=99, arena_bytes=64 << 20)
        ],
    )  # fmt: skip
    service.on[messages.Status] = lambda peer, frame, _: peer.send(report, frame.request_id)
    code, out, err = run("status", "--all", "--socket", service.path)
    assert (code, err) == (0, "")
    for words in (
        "hearthd 0.1.0", "1 h 2 min", "4711", "lost 2 times", "Some CPU", "25.0 GiB", "public",
        "0123456789abcdef", "qwen3_vl", "8.0 MiB", "ComfyUI", "64.0 MiB",
    ):  # fmt: skip
        assert words in out
    code, out, _ = run("status", "--json", "--socket", service.path)
    assert code == 0
    assert json.loads(out) == {**report.to_fields(), "protocol": messages.PROTOCOL_VERSION}


def test_ctrl_c_cancels_and_is_exit_code_130(service, picture):
    service.on[messages.Generate] = silent
    process = start("caption", picture, "--socket", service.path)
    wait_until(lambda: service.peers and service.peer.messages_of(messages.Generate), 30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in err
    wait_until(lambda: service.peer.is_gone)


def test_a_dry_run_says_what_a_load_would_take(service):
    code, out, _ = run("load", "ember", "--dry-run", "--socket", service.path)
    assert code == 0
    for words in ("4.0 GiB: weights 3.0 GiB", "1.0 GiB of 8.0 GiB", "another", "it fits"):
        assert words in out
    assert not service.peer.messages_of(messages.LoadModel)


def test_a_model_is_loaded_ahead_in_the_precision_asked_for(service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    code, out, err = run("load", tmp_path, "--dtype", "int8", "--socket", service.path)
    assert code == 0 and "loaded in 2 ms" in out, err
    (offer,) = service.peer.messages_of(messages.OfferModel)
    assert offer.dtype == "int8"
    code, out, _ = run("load", "ember", "--json", "--socket", service.path)
    assert json.loads(out)["load_ms"] == 2.0


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [((), 0), (("8GiB",), 8 << 30), (("1.5g",), 3 << 29), (("500 MB",), 500 << 20), (("12",), 12)],
)
def test_memory_is_given_back(service, size, nbytes):
    code, out, _ = run("free", *size, "--socket", service.path)
    assert (code, out) == (0, "5.0 GiB given back (another); 1.0 GiB still in use\n")
    assert service.peer.messages_of(messages.FreeMemory)[0].nbytes == nbytes


def test_a_size_that_is_none_is_wrong_usage(service):
    code, _, err = run("free", "lots", "--socket", service.path)
    assert code == 2 and "8GiB" in err


def test_status_shows_memory_and_caches(service):
    report = messages.StatusReport(
        server="test",
        boot_id="b",
        uptime_ms=1,
        worker_state="ready",
        memory_bytes=6 << 30,
        memory_budget_bytes=8 << 30,
        models=[messages.ModelEntry(model="m1", name="Qwen", state="hot")],
        caches=[
            messages.CacheEntry(name="result", entries=2, bytes=2048, budget_bytes=4096, hits=7),
            messages.CacheEntry(model="m1", name="prefix", entries=640, bytes=1 << 30, misses=3),
        ],
    )
    service.on[messages.Status] = replies(report)
    code, out, _ = run("status", "--all", "--socket", service.path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert any("model memory" in line and "6.0 GiB of 8.0 GiB (75 %)" in line for line in lines)
    assert "the service result 2 2.0 KiB of 4.0 KiB (50 %) 7 0" in lines
    assert "Qwen prefix 640 1.0 GiB 0 3" in lines


def test_the_receipt_is_printed_on_request(service, picture):
    code, out, err = run("caption", picture, "--receipt", "--socket", service.path)
    assert (code, out) == (0, "a red circle\n")
    assert "time          1.00 ms" in err and "throttling not known" in err
    _, _, err = run("caption", picture, "--socket", service.path)
    assert "throttling" not in err
