"""The file of `hearth doctor --bundle`: what must not leave the machine, and what must be in it."""
# ruff: noqa: E501  (a table: a row is a line)

import io
import stat
import tarfile

import pytest

from doctor_cases import KERNEL_MODULE, NVIDIA, Fake
from hearth import messages
from hearth.doctor import bundle
from hearth.doctor.redact import Redactor
from server import replies

REDACTOR = Redactor(
    ["bob", "Robert", "Miller"],
    ["studio7.example.org", "studio7"],
    ["/srv/people/bob"],
    ["Nude Painter", "qwen-vl"],
)
# text, what must be gone, what must stay
CORPUS = [
    ("loading /home/bob/ComfyUI/models/x.safetensors now", ["bob", "ComfyUI", "x.safetensors"], ["loading", "now"]),
    ("open '/home/bob/My Models/secret project/a.json': no", ["My Models", "secret", "a.json"], ["open"]),
    ("/srv/people/bob/deep/file and /root/.ssh/id_ed25519", ["deep", "id_ed25519"], []),
    ("/usr/lib/hearth/hearthd[12] info: ready", [], ["/usr/lib/hearth/hearthd", "ready"]),
    ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", ["abcdefghij"], ["HF_TOKEN"]),
    ("api_key: 's3cr3t-v4lue'", ["s3cr3t"], ["api_key"]),
    ("Authorization: Bearer abc.def-123456", ["abc.def"], []),
    ("proxy http://bob:hunter2@proxy:3128", ["hunter2", "bob"], ["3128"]),
    ("sk-proj-abcdefgh12345678 AKIAIOSFODNN7EXAMPLE ghp_abcdefghijkl1234", ["abcdefgh", "IOSFODNN", "ijkl"], []),
    ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", ["eyJhbGci", "SflKx"], []),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nabcd\n-----END OPENSSH PRIVATE KEY-----", ["abcd"], []),
    ("on STUDIO7 for Bob (Robert Miller), uid 1000", ["STUDIO7", "Bob", "Miller"], ["uid 1000"]),
    ("Linux version 6.1 (studio7.example.org)", ["studio7", "example"], ["6.1"]),
    ("bobsled, rebob and bob2 stay", [], ["bobsled", "rebob", "bob2"]),
    ("    Serial Number   : 1652922021234\n    GPU UUID : GPU-deadbeef-0000-1111-2222-333344445555", ["16529220", "deadbeef"], ["Serial Number"]),
    ("listening on 10.1.2.3, mac aa:bb:cc:dd:ee:ff, mail a.b@example.com", ["10.1.2.3", "aa:bb", "example.com"], []),
    ("driver 580.95.05 at 127.0.0.1", [], ["580.95.05", "127.0.0.1"]),
    ('{"ts":"t","event":"prompt","msg":"a naked cat"}', ["cat"], []),
    ('{"ts":"t","event":"served","text":"a naked cat","model":"ember"}', ["cat"], ["ember", "served"]),
    ('{"content":[{"text":"hello there"}],"path":"/home/bob/x y/z"}', ["hello", "x y", "bob"], []),
    ("sd_bob_v2 bob-models", ["bob"], ["_v2", "-models"]),
    ('{"what":"cannot open /home/bob/Secret Project/final cut.json"}', ["Secret", "final", "cut"], ["cannot open"]),
    ("""open "/home/bob/Bob's things/my film.mp4" failed""", ["things", "film"], ["open", "failed"]),
    ("mapped /mnt/disk/girls/a.safetensors", ["girls", "disk"], ["mapped"]),
    ('{"msg":"from /media/x/My Girl/b.json"}', ["media", "My", "Girl"], ["from"]),
    ("""password = "two words here" next=1""", ["two", "words", "here"], ["next=1"]),
    ("secret: 'never closed and more", ["never", "closed", "more"], ["secret"]),
    ('{"api_key": "a b", "HF_TOKEN": "c-d", "note": "api_key=\\"e f\\" g"}', ["a b", "c-d", "e f"], ["note"]),
    ("hearthd --api-key zyx987 --auth-token 'p q' --threads 4", ["zyx987", "p q"], ["--threads 4"]),
    ("AWS_SECRET_ACCESS_KEY=wJalrX MY_PASSWORD=hun DB_SECRET=tig OPENAI_KEY=lio", ["wJal", "hun", "tig", "lio"], ["OPENAI_KEY"]),
    ("fetch https://tok3n@host/x and https://h/y?key=qq1&sig=qq2&token=qq3", ["tok3n", "qq"], ["fetch"]),
    ("Cookie: a=b; c=d", ["a=b", "c=d"], ["Cookie"]),
    ("on 2001:db8::17, [fe80::1%eth0]:80, 2001:db8:0:1:2:3:4:5: refused", ["2001", "fe80", "db8"], ["refused"]),
    ("at 03:00:00 on 0000:3b:00.0 from ::1", [], ["03:00:00", "0000:3b:00.0", "::1"]),
    ("loading Nude Painter (m1), qwen-vl: family qwen-vl2", ["Nude", "qwen-vl:"], ["(m1)", "qwen-vl2"]),
    ("2026-11-22T03:00:00.000 hearthd[1] info: prompt of 7: my secret wish", ["wish"], []),
]  # fmt: skip


@pytest.mark.parametrize("text, gone, stays", CORPUS)
def test_what_is_nobodys_business_is_taken_out(text, gone, stays):
    made = REDACTOR.text(text)
    assert not [word for word in gone if word in made], made
    assert not [word for word in stays if word not in made], made


def test_json_keeps_its_form():
    made = REDACTOR.value(
        {"a": [1, None, True, {"prompt": "x", "path": "/home/bob/q"}], "bob": "é"}
    )
    assert made == {"a": [1, None, True, {"prompt": "<left out>", "path": "<home>"}], "<user>": "é"}


def test_models_are_known_from_all_answers_and_named_alike_in_all_files(tmp_path):
    setting = {
        "key": "model.painter.path",
        "value": '"/var/models/Nude"',
        "takes_effect": "restart",
    }
    said = {
        "status": {
            "models": [{"model": "m1", "name": "My Wife"}, {"model": "m2", "name": "ember"}],
            "caches": [{"model": "m1", "name": "prefix"}],
            "quarantined": [{"model": "m3", "name": "Boss"}],
            "last_errors": [{"what": "no", "model": "Ex"}],
        },
        "requests": {"requests": [{"name": "Old", "receipt": {"evicted": ["Gone"]}}]},
        "config": {"values": [setting]},
    }
    models = bundle.models_of(said)
    assert models == {
        "My Wife",
        "ember",
        "Boss",
        "Ex",
        "Old",
        "Gone",
        "painter",
        "/var/models/Nude",
    }
    redactor = Redactor(models=models)
    made = redactor.value(said)
    name = made["status"]["models"][0]["name"]
    assert name.startswith("model-") and len(name) == len("model-1a2b3c")
    assert redactor.text("loaded My Wife (m1)") == f"loaded {name} (m1)"
    assert made["status"]["models"][1]["name"] == "ember"
    assert made["status"]["caches"] == said["status"]["caches"]
    assert made["config"]["values"][0]["key"].startswith("model.model-")
    assert not [one for one in models - {"ember"} if one in str(made)]
    assert bundle.models_of({"requests": {"error": "denied"}}) == set()


def test_the_bundle_holds_everything_and_nothing_private(tmp_path):
    fake = Fake({NVIDIA: KERNEL_MODULE, "/proc/version": "Linux on studio7"},
                {("nvidia-smi", "-q"): "Serial Number : 99887766\nProduct Name : H200"})  # fmt: skip
    log = "\n".join(text for text, _, _ in CORPUS if "bobsled" not in text)
    said = {"status": {"clients": [{"client": "/home/bob/run.py"}]}, "findings": [{"said": "bob"}]}
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    names = bundle.write(first, bundle.gather(fake, said, log), REDACTOR)
    bundle.write(second, bundle.gather(fake, said, log), REDACTOR)
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    with tarfile.open(first) as archive:
        texts = {m.name: archive.extractfile(m).read().decode() for m in archive.getmembers()}
    assert set(texts) == {f"hearth-doctor/{name}" for name in names}
    whole = "\n".join(texts.values())
    assert "H200" in whole and "580.95.05" in whole
    for word in ("bob", "studio7", "99887766", "hunter2", "naked", "wish", "My Models"):
        assert word not in whole, word


def test_the_command_writes_a_bundle_with_status_and_log(service, command, tmp_path):
    log = tmp_path / "hearthd.log"
    log.write_text("2026-11-22T03:00:00.000 hearthd[1] info: hello\n")
    report = messages.StatusReport(
        server="test", boot_id="b", uptime_ms=1, worker_state="ready", log=str(log)
    )
    service.on[messages.Status] = replies(report)
    service.on[messages.ShowConfig] = replies(messages.ConfigList(values=[]))
    service.on[messages.ListRequests] = replies(messages.RequestList(requests=[]))
    code, out, err = command("doctor", "--bundle", tmp_path / "b.tar.gz", "--socket", service.path)
    assert code in (0, 5), err
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "b.tar.gz").read_bytes())) as archive:
        names = {member.name.rpartition("/")[2] for member in archive.getmembers()}
        text = archive.extractfile("hearth-doctor/log.txt").read().decode()
    assert {"status.json", "config.json", "findings.json", "log.txt", "README.txt"} <= names
    assert "info: hello" in text
