"""Amounts as people read them. Pure."""

from __future__ import annotations


def size(nbytes: float) -> str:
    """Memory, in powers of 1024: 900 B, 1.5 GiB, 139 GiB."""
    return _scaled(nbytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def amount(nbytes: float) -> str:
    """Traffic, in powers of 1000 as makers of memory count: 900 B, 1.5 GB, 139 GB."""
    return _scaled(nbytes, 1000, ("B", "KB", "MB", "GB", "TB"))


def times(count: int) -> str:
    """How often: once, 2 times."""
    return "once" if count == 1 else f"{count} times"


def duration(milliseconds: float) -> str:
    """Coarse: 320 ms, 4.2 s, 9 min, 3 h 12 min."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def span(milliseconds: float) -> str:
    """Three digits, for times that are compared with each other: 0.41 ms, 12.3 ms, 1.59 s."""
    if milliseconds < 999.5:
        return f"{_three_digits(milliseconds)} ms"
    return f"{_three_digits(milliseconds / 1000)} s"


def _scaled(nbytes: float, base: int, units: tuple[str, ...]) -> str:
    value, unit = float(nbytes), units[0]
    for larger in units[1:]:
        if value < base:
            break
        value, unit = value / base, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == units[0] else f"{value:.1f} {unit}"


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
