"""Models from a hub: what arrives, what is refused, and what an interrupted fetch leaves."""

import builtins
import errno
import fcntl
import functools
import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hearth import cli, errors, hub, hub_transfer
from hearth.hub_digests import NOTE
from hearth.hub_models import KNOWN, ORIGIN
from hub_server import COMMIT, Hub
from server import wait_until

pytest.importorskip("huggingface_hub")

REPOSITORY = "owner/Tiny-VL"
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {
    "config.json": b"{}",
    "merges.txt": b"a b\n",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ x }}",
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS[:100_000],
    "README.md": b"not wanted",
    "pytorch_model.bin": b"not wanted",
    ".gitattributes": b"not wanted",
    "onnx/model.safetensors": b"not wanted",
}
WANTED = {name for name in FILES if FILES[name] != b"not wanted"}


@pytest.fixture
def server(monkeypatch, watchdog):
    monkeypatch.setattr(hub_transfer, "_PAUSES_S", (0.01, 0.01))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Hub() as running:
        running.repositories[REPOSITORY] = dict(FILES)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def fetched(into, **options):
    return hub.fetch(hub.look_up(REPOSITORY), into, **options)


def _fetched(folder):
    """Without our own notes."""
    return [path for path in folder.iterdir() if path.name not in (ORIGIN, NOTE)]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in _fetched(folder)}


def leftovers(into):
    work = into / hub.INCOMPLETE / f"owner--Tiny-VL@{COMMIT[:12]}"
    return {path.name: path.stat().st_size for path in work.iterdir()} if work.exists() else {}


def test_a_model_arrives_whole_and_without_what_it_does_not_need(server, tmp_path):
    folder = fetched(tmp_path)
    assert folder == tmp_path / "Tiny-VL"
    assert bytes_of(folder) == {name: FILES[name] for name in WANTED}
    assert leftovers(tmp_path) == {}


def test_the_listing_says_what_a_user_decides_by(server):
    listing = hub.look_up(REPOSITORY)
    assert listing.nbytes == sum(len(FILES[name]) for name in WANTED)
    assert (listing.revision, listing.licence) == (COMMIT, "apache-2.0")
    assert listing.page == f"{server.url}/{REPOSITORY}"


def test_nothing_is_fetched_twice(server, tmp_path):
    fetched(tmp_path)
    asked = len(server.asked)
    assert fetched(tmp_path) == tmp_path / "Tiny-VL"
    assert len(server.asked) == asked + 1  # the listing


def test_progress_counts_all_bytes_and_ends_full(server, tmp_path):
    seen = []
    fetched(tmp_path, on_progress=lambda progress: seen.append((progress.done, progress.total)))
    done = [value for value, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (hub.look_up(REPOSITORY).nbytes,) * 2


def test_a_broken_connection_is_gone_on_with_where_it_broke(server, tmp_path):
    server.drop_after = [1 << 17, 1 << 17]  # the smaller file of weights is through before that
    assert bytes_of(fetched(tmp_path))["model-00001-of-00002.safetensors"] == WEIGHTS
    ranges = [h.get("Range") for h in server.transfers("model-00001-of-00002.safetensors")]
    assert len(ranges) > 1 and ranges[0] is None and all(r.startswith("bytes=") for r in ranges[1:])


def test_what_an_earlier_attempt_left_is_not_asked_for_again(server, tmp_path):
    server.drop_after = [1 << 17] * 2 + [0] * 10  # the smaller weights arrive
    with pytest.raises(errors.NotReachable, match="Run it again"):
        fetched(tmp_path)
    left = leftovers(tmp_path)
    (part,) = [name for name in left if name.endswith(".part")]
    assert 0 < left[part] < len(WEIGHTS)
    assert not (tmp_path / "Tiny-VL").exists()
    server.drop_after, server.asked = [], []
    assert set(bytes_of(fetched(tmp_path))) == WANTED
    assert server.transfers(part.removesuffix(".part"))[0]["Range"] == f"bytes={left[part]}-"


def test_a_server_without_ranges_is_asked_for_all_of_it(server, tmp_path):
    server.has_ranges = False
    server.drop_after = [1 << 17]
    assert bytes_of(fetched(tmp_path))["model-00001-of-00002.safetensors"] == WEIGHTS


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors"])
def test_bytes_that_are_not_the_listed_ones_are_thrown_away(server, tmp_path, name):
    server.repositories[REPOSITORY][name] = bytes(range(200)) * 1000
    server.wrong = {name}
    with pytest.raises(errors.BadModel, match="digest") as raised:
        fetched(tmp_path)
    assert name in str(raised.value)
    assert not {name, name + ".part"} & set(leftovers(tmp_path))
    assert not (tmp_path / "Tiny-VL").exists()
    server.wrong = set()
    assert set(bytes_of(fetched(tmp_path))) == WANTED


def test_a_damaged_partial_file_is_noticed(server, tmp_path):
    server.drop_after = [1 << 17] * 2 + [0] * 10  # the smaller weights arrive
    with pytest.raises(errors.NotReachable):
        fetched(tmp_path)
    (part,) = (tmp_path / hub.INCOMPLETE).glob("*/*.part")
    part.write_bytes(b"x" * part.stat().st_size)
    server.drop_after = []
    with pytest.raises(errors.BadModel, match="digest"):
        fetched(tmp_path)
    assert set(bytes_of(fetched(tmp_path))) == WANTED


def test_a_cancelled_fetch_ends_within_a_second_and_can_be_gone_on_with(server, tmp_path):
    server.slow_s = 0.05
    stop, ended = threading.Event(), []

    def run():
        with pytest.raises(errors.Cancelled):
            fetched(tmp_path, cancelled=stop)
        ended.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while not any(size for name, size in leftovers(tmp_path).items() if "00001" in name):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asked = time.monotonic()
    stop.set()
    thread.join()
    assert ended[0] - asked < 10  # ten times the target
    assert any(name.endswith(".part") for name in leftovers(tmp_path))
    server.slow_s = 0
    assert set(bytes_of(fetched(tmp_path))) == WANTED


def test_a_fetch_waits_for_another_of_the_same_and_says_so(server, tmp_path, monkeypatch):
    (tmp_path / hub.INCOMPLETE).mkdir()
    told, ended, tries, own = [], [], [], hub._try_lock
    monkeypatch.setattr(hub, "_try_lock", lambda file: tries.append(1) or own(file))
    with open(tmp_path / hub.INCOMPLETE / "owner--Tiny-VL.lock", "ab") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        seen = functools.partial(fetched, tmp_path, on_progress=lambda p: told.append(replace(p)))
        thread = threading.Thread(target=lambda: ended.append(seen()))
        thread.start()
        wait_until(lambda: len(tries) > 4)
        assert [(progress.is_waiting, progress.done) for progress in told] == [(True, 0)]
        assert server.transfers("model-00001-of-00002.safetensors") == []
    thread.join(10)
    assert set(bytes_of(ended[0])) == WANTED
    assert not any(progress.is_waiting for progress in told[1:])


def test_a_fetch_that_waits_can_be_cancelled(server, tmp_path):
    (tmp_path / hub.INCOMPLETE).mkdir()
    stop = threading.Event()
    with open(tmp_path / hub.INCOMPLETE / "owner--Tiny-VL.lock", "ab") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        with pytest.raises(errors.Cancelled):
            fetched(tmp_path, on_progress=lambda _progress: stop.set(), cancelled=stop)


def test_a_folder_without_locks_is_named(server, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(hub.fcntl, "flock", no_locks)
    with pytest.raises(errors.BadRequest, match="Tiny-VL.lock cannot be locked: No locks"):
        fetched(tmp_path)


def test_a_full_disk_is_named_before_anything_comes(server, tmp_path, monkeypatch):
    full = SimpleNamespace(free=200 << 20)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _path: full)
    with pytest.raises(errors.BadRequest, match="210 MB free") as raised:
        fetched(tmp_path)
    assert "1.1 MB" in str(raised.value)
    assert server.transfers("model-00001-of-00002.safetensors") == []


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "LLM").write_text("a file")
    with pytest.raises(errors.BadRequest, match="Nothing can be put into .*LLM"):
        fetched(tmp_path / "LLM")


def test_a_token_goes_to_the_hub_and_to_no_other_host(server, tmp_path, monkeypatch):
    server.token = "hf_secret"
    with pytest.raises(errors.UnknownModel, match="401"):
        hub.look_up(REPOSITORY)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetched(tmp_path)
    by_host = {}
    for host, _, headers in server.asked:
        by_host.setdefault(host.partition(":")[0], set()).add(headers.get("Authorization"))
    assert by_host["localhost"] == {None}
    assert "Bearer hf_secret" in by_host["127.0.0.1"]
    assert "hf_secret" not in repr(hub.look_up(REPOSITORY))


@pytest.mark.parametrize("status, words", [(404, "Check the name"), (403, "licence"), (500, "500")])
def test_a_repository_that_is_not_given_says_why(server, status, words):
    server.status[REPOSITORY] = status
    with pytest.raises(errors.HearthError, match=words) as raised:
        hub.look_up(REPOSITORY)
    assert REPOSITORY in str(raised.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_file_that_is_not_given_says_why(server, tmp_path, status):
    server.status["config.json"] = status
    with pytest.raises(errors.UnknownModel, match=f"config.json.*{status}"):
        fetched(tmp_path)


def test_an_overloaded_hub_is_asked_again(server, tmp_path):
    server.status["config.json"] = 503
    with pytest.raises(errors.NotReachable, match="503"):
        fetched(tmp_path)
    assert sum(path.endswith("/config.json") for _, path, _ in server.asked) == 3


def test_a_hub_that_is_not_there_is_named(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(errors.NotReachable, match="127.0.0.1:9"):
        hub.look_up(REPOSITORY)


def test_a_repository_without_safetensors_is_refused(server):
    server.repositories["owner/gguf"] = {"config.json": b"{}", "q4.gguf": b"x"}
    with pytest.raises(errors.BadModel, match="safetensors only"):
        hub.look_up("owner/gguf")


@pytest.mark.parametrize("name", ["plain", "../../etc", "a/../b", "a/b/c", "/a", "a/", ".a/b"])
def test_what_is_no_name_of_a_repository_is_never_asked_for(server, name):
    assert not hub.is_repository(name)
    with pytest.raises(errors.BadRequest, match="owner/name"):
        hub.look_up(name)
    assert server.asked == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    own = builtins.__import__

    def without(name, *more, **named):
        if name == "huggingface_hub":
            raise ImportError(name)
        return own(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(errors.Unsupported, match="pip install huggingface_hub"):
        hub.look_up(REPOSITORY)


def test_a_crash_leaves_the_model_unlisted_and_the_lock_free(server, tmp_path, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    own = os.rename
    monkeypatch.setattr(hub.os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        fetched(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [hub.INCOMPLETE]
    monkeypatch.setattr(hub.os, "rename", own)
    assert set(bytes_of(fetched(tmp_path))) == WANTED


def test_a_folder_of_another_repository_is_not_taken_for_this_one(server, tmp_path):
    fetched(tmp_path)
    server.repositories["else/Tiny-VL"] = dict(FILES)
    with pytest.raises(errors.BadRequest, match="holds owner/Tiny-VL"):
        hub.fetch(hub.look_up("else/Tiny-VL"), tmp_path)


def test_the_listed_repositories_are_names_that_folders_can_be_told_apart_by():
    assert all(hub.is_repository(name) for name in KNOWN)
    assert len({model.name for model in KNOWN.values()}) == len(KNOWN)
    assert all(model.nbytes > 1e9 / 2 for model in KNOWN.values())


def test_the_command_tells_size_and_licence_and_fetches_only_when_told_to(server, tmp_path, capsys):
    command = ["fetch-model", REPOSITORY, "--into", str(tmp_path / "models")]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "1.1 MB" in shown and "apache-2.0" in shown and "--yes" in shown
    assert not (tmp_path / "models").exists()
    assert cli.main([*command, "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path / "models/Tiny-VL")
    assert set(bytes_of(tmp_path / "models/Tiny-VL")) == WANTED


def test_the_command_says_that_it_waits(server, tmp_path, capsys):
    (tmp_path / hub.INCOMPLETE).mkdir()
    with open(tmp_path / hub.INCOMPLETE / "owner--Tiny-VL.lock", "ab") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        release = threading.Timer(0.5, fcntl.flock, (others, fcntl.LOCK_UN))
        release.start()
        assert cli.main(["fetch-model", REPOSITORY, "--into", str(tmp_path), "--yes"]) == 0
        release.join()
    assert capsys.readouterr().err.startswith("Waiting for another download of it …\n")


def test_the_command_says_what_is_wrong(server, tmp_path, capsys):
    assert cli.main(["fetch-model", "no/body", "--into", str(tmp_path)]) == 1
    assert "no/body" in capsys.readouterr().err
