"""The figures of `scale.py` as a picture: seconds and peak memory against rows, on log axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale_figures import ORDER, Measured

# All of them stand out from white and from near-black.
INK = "#7d8590"
COLORS = {
    "memory": "#2f81f7",
    "external": "#2da44e",
    "ours": "#1b9e9e",
    "dask": "#a371f7",
    "bare": INK,
    "bare on dask": "#b08d57",
    "pandas artifacts": "#e5534b",
}
TITLES = {
    "memory": "Evergreen, in memory",
    "external": "Evergreen, from disk",
    "ours": "Evergreen, monitor and batch",
    "dask": "Evergreen on Dask",
    "bare": "bare libraries",
    "bare on dask": "bare libraries on Dask",
    "pandas artifacts": "ZenML, pandas artifacts",
}
DASHES: dict[str, Any] = {"bare": (0, (4, 2)), "bare on dask": (0, (4, 2))}
WORK = ("train", "monitor", "batch")
SETTINGS = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "scale",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(runs: Sequence[Measured], path: Path) -> None:
    """Write the picture, SVG or PNG by the file's name, without a background of its own.

    A run that was ended at a ceiling is a cross where it ended.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    works = [work for work in WORK if any(run.work == work for run in runs)]
    ways = [way for way in ORDER if any(run.way == way for run in runs)]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(3.1 * len(works) + 0.5, 5.6))
        axes = figure.subplots(2, len(works), sharex=True, sharey="row", squeeze=False)
        for column, work in enumerate(works):
            own = [run for run in runs if run.work == work]
            for row, (name, label) in enumerate((("seconds", "seconds"), ("peak_mb", "peak MB"))):
                axis = axes[row][column]
                _panel(axis, own, name)
                if column == 0:
                    axis.set_ylabel(label)
            axes[0][column].set_title(work, fontsize=10)
            axes[1][column].set_xlabel("rows")
        handles = [
            Line2D([], [], color=COLORS[way], linestyle=DASHES.get(way, "-"), marker="o", ms=4)
            for way in ways
        ]
        names = [TITLES[way] for way in ways]
        if any(run.outcome != "done" for run in runs):
            handles.append(Line2D([], [], color=INK, marker="x", linestyle="", ms=8, mew=2))
            names.append("ended at a limit of memory or time")
        figure.legend(handles, names, loc="lower center", ncols=3, frameon=False, fontsize=8)
        figure.tight_layout(rect=(0, 0.09, 1, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, transparent=True, dpi=160, metadata=metadata)


def _panel(axis: Any, runs: Sequence[Measured], name: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for way in ORDER:
        own = sorted((run for run in runs if run.way == way), key=lambda run: run.rows)
        if name == "seconds":  # until memory was out, which say nothing of the work
            own = [run for run in own if run.outcome != "out of memory"]
        if not own:
            continue
        style = {"color": COLORS[way], "linestyle": DASHES.get(way, "-"), "linewidth": 1.6}
        points = [(run.rows, getattr(run, name)) for run in own]
        axis.plot(*zip(*points, strict=True), **style)
        done = [point for point, run in zip(points, own, strict=True) if run.outcome == "done"]
        ended = [point for point in points if point not in done]
        for places, marker, size in ((done, "o", 4), (ended, "x", 8)):
            if places:
                axis.plot(
                    *zip(*places, strict=True),
                    color=COLORS[way],
                    linestyle="",
                    marker=marker,
                    markersize=size,
                    markeredgewidth=2 if marker == "x" else 0,
                )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(visible=True, which="major", color=INK, alpha=0.25, linewidth=0.6)
