"""What a run showed, in words and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

WINDOW_S = 2.0
INK, GREY, BLUE, RED, ORANGE = "#1f2933", "#9aa5b1", "#2563a8", "#c03434", "#d98a1f"
TITLES = {
    "offered-frames": "by the frames offered (ours)",
    "serve-as-tuned": "Serve's policy, tuned for this system",
    "serve-default": "Serve's policy, default numbers",
}
Steps = Sequence[tuple[float, int]]


@dataclass(frozen=True)
class Run:
    """One policy under the steps of the load."""

    policy: str
    replicas: list[tuple[float, int, int]]
    """Second, running replicas, and with those that are starting."""
    latencies: list[tuple[float, float]]
    """Second, milliseconds from capture to ``OK``."""
    drops: list[tuple[float, str]]
    """Second, reason."""
    sampled: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Run:
        return cls(**values)

    def p99(self, begin: float, end: float) -> float:
        """Milliseconds from capture to ``OK``; nan where nothing was accepted."""
        found = [value for second, value in self.latencies if begin <= second < end]
        return float(np.percentile(found, 99)) if found else float("nan")

    def dropped(self, begin: float, end: float) -> int:
        return sum(begin <= drop[0] < end for drop in self.drops)

    def changes(self) -> list[tuple[float, int, int]]:
        """When the number of replicas asked for changed, from what and to what."""
        return [(now[0], before[2], now[2]) for before, now in pairwise(self.replicas) if now[2] != before[2]]

    def reported(self, steps: Steps, end_s: float) -> str:
        lines = [f"{TITLES[self.policy]}: {self.sampled} sampled, {len(self.latencies)} accepted, "
                 f"dropped {dict(Counter(reason for _, reason in self.drops))}"]  # fmt: skip
        for (begin, cameras), end in zip(steps, [step[0] for step in steps[1:]] + [end_s], strict=True):
            lines.append(
                f"  {cameras} cameras, {begin:.0f} to {end:.0f} s: p99 {self.p99(begin, end):.0f} ms, "
                f"in its last 15 s {self.p99(end - 15, end):.0f} ms; dropped {self.dropped(begin, end)}, "
                f"in its last 15 s {self.dropped(end - 15, end)}; most replicas "
                f"{max(row[1] for row in self.replicas if begin <= row[0] < end)}"
            )
        moves = ", ".join(f"{second:.0f} s {before}→{after}" for second, before, after in self.changes())
        return "\n".join([*lines, f"  replicas asked for: {moves or 'no change'}"])


def draw(runs: Sequence[Run], steps: Steps, end_s: float, budget_ms: float, caption: str, picture: Path) -> None:
    """One column a policy: cameras and replicas, latency against the budget, drops."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.edgecolor": GREY, "text.color": INK, "axes.labelcolor": INK})
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(
        3, len(runs), sharex=True, sharey="row", figsize=(4.2 * len(runs), 6), height_ratios=(3, 3, 2), squeeze=False
    )
    bins = np.arange(0, end_s + WINDOW_S, WINDOW_S)
    for column, run in enumerate(runs):
        replicas, latency, drops = (rows[row][column] for row in range(3))
        replicas.set_title(TITLES[run.policy], loc="left", fontsize=10, fontweight="bold")
        begins, counts = zip(*steps, strict=True)
        replicas.step(
            [*begins, end_s], [*counts, counts[-1]], where="post", color=GREY, lw=1.2, ls="--", label="cameras"
        )
        seconds, running, asked = zip(*run.replicas, strict=True)
        replicas.fill_between(seconds, running, asked, step="post", color=ORANGE, alpha=0.35, lw=0, label="starting")
        replicas.step(seconds, running, where="post", color=BLUE, lw=2, label="replicas running")
        centres = bins[:-1] + WINDOW_S / 2
        latency.plot(*zip(*run.latencies, strict=True), ".", color=GREY, ms=1.5, alpha=0.5, label="a frame")
        latency.plot(
            centres, [run.p99(a, b) for a, b in pairwise(bins)], color=BLUE, lw=1.5, label=f"p99 of {WINDOW_S:g} s"
        )
        latency.axhline(budget_ms, color=RED, lw=1, ls=":", label="the budget")
        drops.bar(centres, [run.dropped(a, b) / WINDOW_S for a, b in pairwise(bins)], WINDOW_S * 0.9, color=RED)
        drops.set_xlabel("seconds")
        for axes in (replicas, latency, drops):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color=GREY, alpha=0.25, lw=0.6)
            for begin in begins[1:]:
                axes.axvline(begin, color=GREY, lw=0.6, ls="--", alpha=0.6)
    rows[0][0].set_ylabel("cameras, replicas")
    rows[1][0].set_ylabel("capture to OK, ms")
    rows[2][0].set_ylabel("frames dropped\na second")
    rows[0][0].set_ylim(0, max(counts) + 1)
    rows[1][0].set_ylim(0, budget_ms * 2)
    rows[0][0].set_xlim(0, end_s)
    marks = [each for row in (0, 1) for each in zip(*rows[row][0].get_legend_handles_labels(), strict=True)]
    figure.legend(*zip(*marks, strict=True), frameon=False, fontsize=8, loc="lower center", ncols=len(marks))
    figure.text(0.01, 0.985, caption, fontsize=8, color=GREY, va="top")
    figure.tight_layout(rect=(0, 0.03, 1, 0.97))
    figure.savefig(picture, dpi=130)
