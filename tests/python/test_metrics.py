"""The dashboard, the document and the command: they speak of metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hearth import messages
from hearth.exposition import samples_of
from server import replies

ROOT = Path(__file__).resolve().parents[2]
TEXT = """# HELP hearth_slots Requests that the engine computes at once.
# TYPE hearth_slots gauge
hearth_slots 8
hearth_requests_total{op="generate",model="a b",code="ok"} 12
hearth_token_gap_seconds_bucket{le="+Inf"} 3
"""


def declared() -> dict[str, tuple[str, set[str]]]:
    """Type and labels by name, of the document that a unit test compares with the service."""
    found = {}
    for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `hearth_"):
            name, kind, labels = [cell.strip(" `") for cell in line.split("|")[1:4]]
            found[name] = kind, {label.strip() for label in labels.split(",") if label.strip()}
    return found


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text(encoding="utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    document = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    asked = document.partition("## Questions")[2]
    return [target["expr"] for target in targets] + re.findall(r"\| `(.+?)` \|$", asked, re.M)


def test_there_is_a_document_and_a_dashboard():
    assert len(declared()) > 30 and len(expressions()) > 30


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_asks_for_metrics_and_labels_that_there_are(expression):
    table = declared()
    names = re.findall(r"hearth_\w+", expression)
    assert names
    labels = {"le"}
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        kind, of_it = table.get(name) or table[base]
        assert (kind == "histogram") == (name not in table), name
        is_counted = kind in ("counter", "histogram")
        assert is_counted == any(word in expression for word in ("rate(", "increase(")), name
        labels |= of_it
    used = re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"\{(\w+)[!=]", expression)
    assert {word.strip() for part in used for word in part.split(",")} <= labels


def test_every_metric_is_on_the_dashboard_but_those_that_are_no_curve():
    shown = {re.sub(r"_(bucket|sum|count)$", "", n) for e in expressions()
             for n in re.findall(r"hearth_\w+", e)}  # fmt: skip
    assert declared().keys() - shown <= {"hearth_build_info", "hearth_upgrades_total"}


def test_the_panels_of_the_dashboard_do_not_overlap():
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_samples_are_read_with_their_labels():
    assert samples_of(TEXT) == {
        "hearth_slots": 8,
        'hearth_requests_total{op="generate",model="a b",code="ok"}': 12,
        'hearth_token_gap_seconds_bucket{le="+Inf"}': 3,
    }


def test_the_command_prints_the_text_as_it_is_or_as_json(service, command):
    service.on[messages.Metrics] = replies(messages.MetricsText(text=TEXT))
    assert command("metrics", "--socket", service.path)[:2] == (0, TEXT)
    _, out, _ = command("metrics", "--json", "--socket", service.path)
    assert json.loads(out)["hearth_slots"] == 8
    assert command("metrics", "--watch", "--every", 0, "--socket", service.path)[0] == 2


def test_watching_goes_on_until_it_is_interrupted(service, command, monkeypatch):
    texts = iter([TEXT, TEXT.replace('code="ok"} 12', 'code="ok"} 15')])

    def next_text(_self):
        for text in texts:
            return text
        raise KeyboardInterrupt

    monkeypatch.setattr("hearth.client.Client.metrics", next_text)
    words = ("metrics", "--watch", "--every", 0.01, "--socket", service.path)
    code, out, _ = command(*words)
    assert code == 130
    assert out.count("hearth_requests_total") == 1 and " 15  (+3)" in out


def test_a_change_is_told_with_its_size(capsys):
    from hearth.cli.metrics import _show

    _show({"hearth_a_total": 1.0, "hearth_b": 2.0}, {"hearth_a_total": 4.0, "hearth_b": 2.0}, False)
    out = capsys.readouterr().out
    assert "hearth_a_total 4  (+3)" in out and "hearth_b" not in out


def test_large_counts_keep_their_last_digits(capsys):
    from hearth.cli.metrics import _show

    before = {
        "hearth_tokens_total": 12345678.0,
        "hearth_bytes_total": 0.0,
        "hearth_s_sum": 1234567.5,
    }
    now = {
        "hearth_tokens_total": 12345681.0,
        "hearth_bytes_total": 7654321.0,
        "hearth_s_sum": 1234567.7,
    }
    _show(before, now, False)
    out = capsys.readouterr().out
    assert "hearth_tokens_total 12345681  (+3)" in out
    assert "hearth_bytes_total 7654321  (+7654321)" in out
    assert "hearth_s_sum 1234567.7  (+0.2)" in out
    _show({"hearth_a": 0.0, "hearth_b": 5.0}, {"hearth_a": float("inf"), "hearth_b": 2.0}, False)
    out = capsys.readouterr().out
    assert "hearth_a inf  (+inf)" in out and "hearth_b 2  (-3)" in out
