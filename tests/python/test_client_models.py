"""Which files of a model are offered, and when."""

import os

import pytest

import hearth.client
from hearth import errors, messages, models
from server import fails, open_files, wait_until

TEXT = [{"role": "user", "content": "Hello"}]


def test_models_that_share_a_name_are_shown_with_their_dtype():
    entries = [
        messages.ModelEntry(model=f"id{i}", name=name, dtype=dtype, state="hot")
        for i, (name, dtype) in enumerate([("a", "int8"), ("a", "bfloat16"), ("b", "int4")])
    ]
    assert models.names_of(entries) == {"id0": "a int8", "id1": "a bfloat16", "id2": "b"}


def test_a_folder_s_model_files_are_offered_read_only(client, service, tmp_path):
    names = ["config.json", "model-1.safetensors", "model.safetensors.index.json", "merges.txt",
             "vocab.json", "chat_template.jinja"]  # fmt: skip
    for name in [*names, "README.md", ".hidden.json", "pytorch_model.bin"]:
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.json").mkdir()
    flags = []

    def handler(peer, frame, _offer):
        import fcntl

        flags.extend(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE for fd in frame.fds)
        reply = messages.ModelOffered(model="id", family="qwen3_vl", warnings=["careful"])
        peer.send(reply, frame.request_id)

    service.on[messages.OfferModel] = handler
    before = open_files()
    (tmp_path / "folder.json").rmdir()
    model = client.offer_model(tmp_path, dtype="float32")
    assert (model.id, model.family, model.warnings) == ("id", "qwen3_vl", ["careful"])
    (offer,) = service.peer.messages_of(messages.OfferModel)
    assert sorted(offer.labels) == sorted(names)
    assert (offer.dtype, offer.name) == ("float32", tmp_path.name)
    assert flags == [os.O_RDONLY] * len(names)
    wait_until(lambda: open_files() == before)  # the service has its own to close


def test_files_can_be_named_by_label(client, service, tmp_path):
    weights, tokenizer = tmp_path / "clip.safetensors", tmp_path / "other.json"
    weights.write_text("w")
    tokenizer.write_text("t")
    client.offer_model({"clip.safetensors": weights, "tokenizer.json": tokenizer})
    client.offer_model(weights)
    first, second = service.peer.messages_of(messages.OfferModel)
    assert first.labels == ["clip.safetensors", "tokenizer.json"]
    assert (second.labels, second.name) == (["clip.safetensors"], "clip")


def test_a_single_file_brings_the_tokenizer_beside_it(client, service, tmp_path):
    for name in ("encoder.safetensors", "other.safetensors", "vocab.json", "merges.txt"):
        (tmp_path / name).write_text(name)
    client.offer_model(tmp_path / "encoder.safetensors")
    (offer,) = service.peer.messages_of(messages.OfferModel)
    assert sorted(offer.labels) == ["encoder.safetensors", "merges.txt", "vocab.json"]
    client.offer_model(tmp_path / "vocab.json")
    assert service.peer.messages_of(messages.OfferModel)[1].labels == ["vocab.json"]


def test_more_files_than_a_frame_carries_are_refused(client, service, tmp_path):
    many = {f"{i}.json": tmp_path / "same.json" for i in range(241)}
    (tmp_path / "same.json").write_text("{}")
    with pytest.raises(errors.BadModel, match="241 files: at most 240"):
        client.offer_model(many)
    assert not service.peer.messages_of(messages.OfferModel)


def test_a_name_keeps_the_dots_of_its_folder(client, tmp_path):
    folder = tmp_path / "Qwen2.5-VL-3B"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert client.offer_model(folder).name == "Qwen2.5-VL-3B"


def test_a_model_is_offered_once_to_each_connection(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = client.offer_model(tmp_path)
    client.load(model)
    assert len(service.peer.messages_of(messages.OfferModel)) == 1
    with hearth.client.connect(service.path) as other:
        other.generate(model, TEXT)
    assert len(service.peer.messages_of(messages.OfferModel)) == 1


def test_a_model_offered_for_every_run_is_remembered_once(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for _ in range(5):
        client.generate(client.offer_model(tmp_path), TEXT)
    assert len(client._connection.offered) == 1
    assert len(service.peer.messages_of(messages.OfferModel)) == 5


def test_files_that_changed_are_another_model(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = client.offer_model(tmp_path)
    (tmp_path / "config.json").write_text('{"changed": true}')
    after = client.offer_model(tmp_path)
    for model in (before, after, before):
        client.generate(model, TEXT)
    used = [request.model for request in service.peer.messages_of(messages.Generate)]
    assert used == [before.id, after.id, before.id] and before.id != after.id
    assert len(service.peer.messages_of(messages.OfferModel)) == 2


def test_a_model_that_was_given_up_is_offered_again_when_used(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = client.offer_model(tmp_path)
    client.unload(model)
    client.generate(model, TEXT)
    assert len(service.peer.messages_of(messages.OfferModel)) == 2


@pytest.mark.parametrize(
    "names, complaint",
    [
        ([], "holds no model"),
        (["notes.txt"], "holds no model"),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin and no .safetensors"),
        (["model.gguf"], "model.gguf and no .safetensors"),
    ],
)
def test_a_folder_without_a_model_is_refused(client, tmp_path, names, complaint):
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(errors.HearthError, match=complaint):
        client.offer_model(tmp_path)


def test_missing_and_unreadable_files_are_named(client, tmp_path):
    with pytest.raises(errors.BadModel, match="There is no file or folder /nowhere"):
        client.offer_model("/nowhere")
    with pytest.raises(errors.BadModel, match="/nowhere.json cannot be read: no such file"):
        client.offer_model({"config.json": "/nowhere.json"})
    with pytest.raises(errors.BadModel, match="no files"):
        client.offer_model({})
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    with pytest.raises(errors.BadModel, match="not a regular file"):
        client.offer_model(tmp_path)
    client.ping()


def test_a_refused_model_leaves_no_descriptor(client, service, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    service.on[messages.OfferModel] = fails("bad_model", "config.json: no model_type.")
    before = open_files()
    for _ in range(3):
        with pytest.raises(errors.BadModel, match="no model_type"):
            client.offer_model(tmp_path)
    wait_until(lambda: open_files() == before)


def test_the_small_calls(client, service):
    loaded = client.load("ember")
    assert (loaded.model, loaded.load_ms) == ("ember", 2.0)
    assert client.models() == [] and client.unload("ember") is False
    assert client.status().worker_state == "ready"
    assert client.ping() > 0
