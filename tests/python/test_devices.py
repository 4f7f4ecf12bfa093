"""Devices and amounts as people read them."""

from __future__ import annotations

import pytest

from hearth import devices, messages, units

GPU = messages.Device(kind="cuda", name="A GPU", memory_bytes=24 << 30)


def test_a_gpu_without_code_for_it_is_seen_at_once() -> None:
    assert devices.device_lines(GPU)[-1] == (
        "compute capability not known; this build has code for none"
    )
    known = messages.Device(kind="cuda", compute_capability="12.0", built_for=["8.0", "9.0"])
    assert devices.device_lines(known) == [
        "a device without a name",
        "cuda, memory not known, bandwidth not known",
        "compute capability 12.0; this build has code for 8.0 9.0",
    ]


def test_a_processor_has_threads_and_no_compute_capability() -> None:
    cpu = messages.Device(
        kind="cpu", name="A CPU", memory_bytes=8 << 30, threads=1, bandwidth_bytes_per_s=21 * 10**9
    )
    assert devices.device_lines(cpu) == ["A CPU", "cpu, 8.0 GiB, 1 thread, 21.0 GB/s"]


def test_a_device_is_found_by_the_name_in_the_receipt() -> None:
    other = messages.Device(kind="cpu", name="A CPU")
    assert devices.device_named([other, GPU], "A GPU") is GPU
    assert devices.device_named([other], "A GPU") is None


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (units.size(0), "0 B"),
        (units.size(1536), "1.5 KiB"),
        (units.size(128 << 20), "128 MiB"),
        (units.size(5 << 40), "5.0 TiB"),
        (units.amount(1_540_000_000), "1.5 GB"),
        (units.amount(4_800_000_000_000), "4.8 TB"),
        (units.duration(320), "320 ms"),
        (units.duration(4200), "4.2 s"),
        (units.duration(540_000), "9 min"),
        (units.duration(11_520_000), "3 h 12 min"),
        (units.span(0.41), "0.41 ms"),
        (units.span(9.996), "10.0 ms"),
        (units.span(99.96), "100 ms"),
        (units.span(999.6), "1.00 s"),
        (units.span(254_000), "254 s"),
    ],
)
def test_amounts_read_well(made: str, text: str) -> None:
    assert made == text
