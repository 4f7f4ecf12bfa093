"""Draw the latest measurements of speed.py: `python bench/plot.py` writes bench/speed.svg.

Needs `pip install matplotlib`. Bars are tokens a second of hearth and of llama.cpp with as many
bits, from the same run.
"""

import json
import sys

import matplotlib
import matplotlib.pyplot

import harness

# Heading, part of speed.py, prefix of its figures.
CHARTS = [
    ("decode, 128 tokens of context", "hogs", "0_hogs_"),
    ("decode beside one busy process", "hogs", "1_hogs_"),
    ("decode beside two busy processes", "hogs", "2_hogs_"),
    ("prefill, 512 tokens", "prefill", "prefill_"),
]
WEIGHTS = {"bfloat16": "bf16", "int8": "int8 / q8_0", "int4": "int4 / q4_0"}


def main():
    latest = {}
    for line in harness.LEDGER.read_text().splitlines():
        entry = json.loads(line)
        latest[entry["bench"]] = entry["figures"]
    matplotlib.rcParams.update({"svg.hashsalt": "hearth", "font.size": 9})
    figure, axes = matplotlib.pyplot.subplots(
        len(CHARTS), 1, figsize=(6.4, 1.35 * len(CHARTS)), layout="constrained"
    )
    for axis, chart in zip(axes, CHARTS, strict=True):
        draw(axis, latest, *chart)
    axes[0].legend(loc="upper right", frameon=False)
    axes[-1].set_xlabel("tokens a second")
    figure.savefig(harness.LEDGER.with_name("speed.svg"), metadata={"Date": None})


def draw(axis, latest, heading, part, prefix):
    for row, weights in enumerate(WEIGHTS):
        figures = latest.get(f"speed {part} {weights}")
        if figures is None:
            raise SystemExit(
                f"the ledger has no `speed {part} {weights}`: run bench/speed.py first"
            )
        for offset, name, colour in ((-0.2, "hearth", "#c8553d"), (0.2, "llama", "#8d99ae")):
            speed = figures[f"{prefix}{name}_tokens_per_second"]
            label = {"hearth": "hearth", "llama": "llama.cpp"}[name] if row == 0 else None
            bar = axis.barh(row + offset, speed, 0.38, color=colour, label=label)
            axis.bar_label(bar, fmt="%.3g", padding=2)
    axis.set_title(heading, loc="left", fontsize=9)
    axis.set_yticks(range(len(WEIGHTS)), WEIGHTS.values())
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.12)


if __name__ == "__main__":
    sys.exit(main())
