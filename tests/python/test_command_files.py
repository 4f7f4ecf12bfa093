"""verify and install-nodes: commands about files."""

import hashlib
import json
import shutil
import struct
import sys
from pathlib import Path

import pytest

from hearth import hub_digests, model_check
from hearth.cli import install_nodes
from hearth.hub_transfer import HubFile
from hearth.version import VERSION


def safetensors(path, tensors, tail=b"", cut=0):
    """tensors: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += raw
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + data + tail
    path.write_bytes(whole[: len(whole) - cut])


ONE = {"a": ("F32", [2, 3], bytes(24)), "b": ("BF16", [5], bytes(10))}
TWO = {"c": ("U8", [7], bytes(range(7)))}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "Model"
    folder.mkdir()
    safetensors(folder / "model-00001-of-00002.safetensors", ONE)
    safetensors(folder / "model-00002-of-00002.safetensors", TWO)
    places = dict.fromkeys(ONE, "model-00001-of-00002.safetensors")
    places["c"] = "model-00002-of-00002.safetensors"
    (folder / model_check.INDEX).write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def listed(folder):
    """What the hub would list of it."""
    files = []
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        is_large = path.suffix == ".safetensors"
        git = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
        digest = hashlib.sha256(raw).hexdigest() if is_large else ""
        files.append(HubFile(path.name, len(raw), digest, git))
    return files


def test_a_whole_model_is_whole(model, command):
    code, out, _ = command("verify", model)
    assert code == 0 and "0 of 5 files" in out and "as far as sizes tell" in out
    hub_digests.write(model, listed(model))
    code, out, _ = command("verify", model)
    assert code == 0 and "byte for byte" in out
    code, out, _ = command("verify", model, "--quick", "--json")
    told = json.loads(out)
    assert told["whole"] and {one["digest"] for one in told["files"]} == {"unknown"}
    assert command("verify", model / "model-00002-of-00002.safetensors")[0] == 0


def damaged(model, what):
    """Makes one thing wrong."""
    first = model / "model-00001-of-00002.safetensors"
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}

    def with_header(changed):
        text = json.dumps({"a": {**header["a"], **changed}}).encode()
        first.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))

    def huge():
        first.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")

    def index(change):
        path = model / model_check.INDEX
        told = json.loads(path.read_text())
        change(told["weight_map"])
        path.write_text(json.dumps(told))

    {
        "cut": lambda: safetensors(first, ONE, cut=9),
        "long": lambda: safetensors(first, ONE, tail=b"xx"),
        "empty": lambda: first.write_bytes(b"abc"),
        "huge": huge,
        "no json": lambda: first.write_bytes(struct.pack("<Q", 4) + b"abcd"),
        "list": lambda: first.write_bytes(struct.pack("<Q", 2) + b"[]"),
        "type": lambda: with_header({"dtype": "F33"}),
        "shape": lambda: with_header({"shape": [3]}),
        "hole": lambda: with_header({"data_offsets": [4, 12]}),
        "keys": lambda: with_header({"data_offsets": None}),
        "shard": lambda: (model / "model-00002-of-00002.safetensors").unlink(),
        "config": lambda: (model / "config.json").unlink(),
        "config text": lambda: (model / "config.json").write_text("{"),
        "tokenizer": lambda: (model / "tokenizer.json").unlink(),
        "part": lambda: (model / "x.safetensors.part").write_text(""),
        "index": lambda: (model / model_check.INDEX).write_text("{}"),
        "index place": lambda: index(lambda m: m.update(a=m["c"])),
        "index less": lambda: index(lambda m: m.pop("b")),
        "index more": lambda: index(lambda m: m.update(z="other.safetensors")),
    }[what]()


@pytest.mark.parametrize(
    "what, words",
    [
        ("cut", "it ends 9 bytes too early"), ("long", "2 bytes too many"),
        ("empty", "3 bytes: it ends before"), ("huge", "would have 1099511627776 bytes"),
        ("no json", "no JSON"), ("list", "no JSON object"), ("type", "unknown type F33"),
        ("shape", "does not fit its shape"), ("hole", "does not fit its shape or place"),
        ("keys", "its header is damaged"), ("shard", "model-00002-of-00002.safetensors is missing"),
        ("config", "config.json is missing"), ("config text", "cannot be read"),
        ("tokenizer", "the tokenizer is missing"), ("part", "was not finished"),
        ("index", "names no files"), ("index place", "1 tensors are not where the index says: a"),
        ("index less", "1 tensors are not in the index: b"), ("index more", "other.safetensors"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(model, command, what, words):
    damaged(model, what)
    code, out, _ = command("verify", model, "--quick")
    assert code == 1 and words in out


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 200_000,
        b'{"a": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [{}, "x"]}}',
        b'{"a": 5}',
    ],
    ids=["nested", "type", "endless", "offsets", "number"],
)
def test_a_header_that_lies_is_damage_and_no_traceback(model, command, header):
    raw = struct.pack("<Q", len(header)) + header
    (model / "model-00002-of-00002.safetensors").write_bytes(raw)
    code, out, err = command("verify", model)
    assert code == 1 and "damaged" in out and "Traceback" not in err


@pytest.mark.parametrize("index", ["[" * 200_000, '{"weight_map": {"a": [], "c": {}}}'])
def test_an_index_that_lies_is_damage_and_no_traceback(model, command, index):
    (model / model_check.INDEX).write_text(index)
    assert command("verify", model)[0] == 1


def test_a_byte_that_differs_is_found_where_the_hub_is_known(model, command):
    hub_digests.write(model, listed(model))
    path = model / "model-00002-of-00002.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert command("verify", model, "--quick")[0] == 0, "sizes cannot tell"
    code, out, _ = command("verify", model, "--json")
    told = {one["name"]: one for one in json.loads(out)["files"]}
    assert code == 1 and told[path.name]["digest"] == "wrong"
    assert "not those that the hub lists" in told[path.name]["problem"]
    (model / "tokenizer.json").write_text("{ }")
    assert "the hub lists 2" in command("verify", model)[1]


def test_what_huggingface_hub_left_is_known_too(model):
    files = {file.name: file for file in listed(model)}
    notes = model / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    weights = files["model-00001-of-00002.safetensors"]
    (notes / f"{weights.name}.metadata").write_text(f"commit\n{weights.sha256}\n17.0\n")
    blobs = model.parent / "blobs"
    blobs.mkdir()
    config = model / "config.json"
    config.rename(blobs / files["config.json"].blob_id)
    config.symlink_to(blobs / files["config.json"].blob_id)
    found = model_check.check(model)
    digests = {file.name: file.digest for file in found.files}
    assert digests[weights.name] == digests["config.json"] == "right"
    assert digests["tokenizer.json"] == "unknown"


def test_what_is_no_model_is_an_error(command, tmp_path):
    assert command("verify", tmp_path / "none")[0] == 1
    code, _, err = command("verify", tmp_path)
    assert code == 1 and "no .safetensors" in err


# --- install-nodes ---


@pytest.fixture
def comfy(tmp_path, monkeypatch):
    folder = tmp_path / "ComfyUI"
    for name in ("comfy", "custom_nodes", "venv/bin"):
        (folder / name).mkdir(parents=True)
    for name in ("main.py", "nodes.py"):
        (folder / name).write_text("")
    python = folder / "venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMFYUI_DIR", raising=False)
    monkeypatch.chdir(folder)
    return folder


def test_the_one_comfyui_gets_a_link_that_can_be_taken_out_again(comfy, command):
    code, out, err = command("install-nodes")
    target = comfy / "custom_nodes/hearth"
    assert code == 0, err
    assert target.is_symlink() and target.resolve() == install_nodes.source()
    assert "has msgpack" in out
    assert "is there already" in command("install-nodes", comfy)[1]
    code, out, _ = command("install-nodes", comfy, "--remove", "--json")
    assert json.loads(out)["done"][0]["action"] == "removed" and not target.is_symlink()
    assert "was not there" in command("install-nodes", comfy, "--remove")[1]
    assert install_nodes.source().exists(), "what the link led to stays"


def test_a_copy_is_brought_up_to_date_and_knows_that_it_is_one(comfy, command, monkeypatch):
    package = Path(install_nodes.__file__).resolve().parents[1]
    monkeypatch.setattr(install_nodes, "source", lambda: package)
    target = comfy / "custom_nodes/hearth"
    assert command("install-nodes", comfy, "--copy")[0] == 0
    assert not target.is_symlink() and (target / "comfy_api.py").exists()
    assert not list(target.rglob("__pycache__"))
    (target / "version.py").write_text('VERSION = "0.0.1"\n')
    assert command("install-nodes", comfy, "--copy")[0] == 0
    assert VERSION in (target / "version.py").read_text()
    assert command("install-nodes", comfy, "--remove")[0] == 0 and not target.exists()


@pytest.fixture
def copied(comfy, command, monkeypatch, tmp_path):
    """A ComfyUI with a copy, made of a small pack; and the pack."""
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "comfy_api.py").write_text("")
    (pack / "version.py").write_text('VERSION = "1.0.0"\n')
    (pack / "dropped.py").write_text("")
    monkeypatch.setattr(install_nodes, "source", lambda: pack)
    assert command("install-nodes", comfy, "--copy")[0] == 0
    return comfy / "custom_nodes/hearth", pack


def test_a_copy_that_runs_this_command_itself_is_kept(copied, comfy, command, monkeypatch):
    target, _ = copied
    monkeypatch.setattr(install_nodes, "source", lambda: target)
    for words in ((), ("--copy",)):
        code, out, _ = command("install-nodes", comfy, *words)
        assert code == 0 and "is there already" in out and (target / "comfy_api.py").exists()


def test_an_update_that_fails_leaves_what_was_there(copied, comfy, command):
    target, pack = copied
    (pack / "version.py").write_text('VERSION = "2.0.0"\n')
    fails = shutil.Error([("a", "b", "[Errno 28] No space left"), ("c", "d", "[Errno 28]")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "copytree", lambda *_, **__: (_ for _ in ()).throw(fails))
        code, _, err = command("install-nodes", comfy, "--copy")
    assert code == 1 and "(2 files): [Errno 28] No space left" in err.replace("\n", " ")
    assert "1.0.0" in (target / "version.py").read_text()
    assert [path.name for path in target.parent.iterdir()] == ["hearth"]
    (pack / "dropped.py").unlink()
    left = target.with_name(install_nodes._PART)
    left.mkdir()  # as an interruption leaves it
    (left / "comfy_api.py").write_text("")
    (left / "version.py").write_text('VERSION = "1.5.0"\n')
    assert command("install-nodes", comfy, "--copy")[0] == 0
    assert "2.0.0" in (target / "version.py").read_text() and not (target / "dropped.py").exists()
    assert [path.name for path in target.parent.iterdir()] == ["hearth"]


def test_a_copy_with_files_of_the_users_is_never_thrown_away(copied, comfy, command):
    target, _ = copied
    (target / "mine").mkdir()
    (target / "mine/prompts.txt").write_text("x")
    for words in ((), ("--copy",), ("--remove",)):
        code, _, err = command("install-nodes", comfy, *words)
        assert code == 1 and "mine/prompts.txt" in err.replace("\n", "")
        assert (target / "mine/prompts.txt").exists()
    (target / "mine/prompts.txt").unlink()
    assert command("install-nodes", comfy)[0] == 0 and target.is_symlink()


def test_a_link_to_nowhere_is_ours_only_if_it_leads_where_ours_lead(comfy, command, tmp_path):
    target = comfy / "custom_nodes/hearth"
    target.symlink_to("/mnt/not-mounted/my-nodes")
    for words in ((), ("--remove",), ("--copy",)):
        code, _, err = command("install-nodes", comfy, *words)
        assert code == 1 and "/mnt/not-mounted/my-nodes" in err.replace("\n", "")
        assert target.is_symlink()
    target.unlink()
    former = tmp_path / "old/share/hearth/python/hearth"
    target.symlink_to(former)
    code, out, _ = command("install-nodes", comfy, "--json")
    assert code == 0 and json.loads(out)["done"][0]["was"] == str(former)
    code, out, _ = command("install-nodes", comfy, "--remove")
    assert code == 0 and f"it led to {install_nodes.source()}" in out.replace("\n", "")


def test_what_others_put_there_stays(comfy, command):
    target = comfy / "custom_nodes/hearth"
    target.mkdir()
    (target / "precious.txt").write_text("x")
    for words in (("install-nodes", comfy), ("install-nodes", comfy, "--remove")):
        code, _, err = command(*words)
        assert code == 1 and str(target) in err
    assert (target / "precious.txt").exists()


def test_two_packs_of_the_same_nodes_are_refused(comfy, command):
    other = comfy / "custom_nodes/old-hearth"
    other.mkdir()
    (other / "version.py").write_text('VERSION = "0.0.1"\n')
    (other / "comfy_api.py").write_text("")
    code, _, err = command("install-nodes", comfy)
    assert code == 1 and "old-hearth" in err


def test_a_python_without_msgpack_is_told_what_to_do_and_left_alone(comfy, command):
    python = comfy / "venv/bin/python"
    python.write_text('#!/bin/sh\necho "$@" >> ' + str(comfy / "ran") + "\nexit 1\n")
    code, out, _ = command("install-nodes", comfy)
    assert code == 0 and f"{python} -m pip install msgpack" in out
    assert "pip" not in (comfy / "ran").read_text()
    command("install-nodes", comfy, "--install-msgpack")
    assert "-m pip install msgpack" in (comfy / "ran").read_text()
    assert command("install-nodes", comfy, "--python", comfy / "none")[0] == 1


def test_where_there_is_not_exactly_one_the_user_chooses(comfy, command, monkeypatch):
    assert command("install-nodes", comfy / "custom_nodes")[0] == 1
    again = comfy.parent / "Documents/ComfyUI"
    for name in ("comfy", "custom_nodes"):
        (again / name).mkdir(parents=True)
    for name in ("main.py", "nodes.py"):
        (again / name).write_text("")
    code, _, err = command("install-nodes")
    assert code == 1 and "There are 2 ComfyUIs" in err
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/nonexistent")
    code, _, err = command("install-nodes")
    assert code == 1 and "No ComfyUI was found" in err
