"""Prometheus' text format, as far as the service writes it. Pure."""

from __future__ import annotations


def samples_of(text: str) -> dict[str, float]:
    """Each sample by its name with its labels, as they stand in the text."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        found[name] = float(value)
    return found
